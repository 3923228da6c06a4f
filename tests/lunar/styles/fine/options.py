"""What both loaders are told."""

import torch


def loader_options(batch_size, num_workers):
    """Return the arguments of the loaders."""
    more = {"prefetch_factor": 2, "persistent_workers": True} if num_workers > 0 else {}
    pinned = torch.cuda.is_available()
    return {"batch_size": batch_size, "num_workers": num_workers, "pin_memory": pinned, **more}
