"""One code path for one process or many: `torchrun` sets the environment, nothing else differs.

DistributedDataParallel (Li et al. 2020, arXiv:2006.15704) is the right size of tool here: the
model has 53.6 M parameters.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sized
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import Sampler

T = TypeVar("T")


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Join the group that torchrun has made, if it has; leave it at the end."""
    if "RANK" not in os.environ or dist.is_initialized():
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """Return the number of this process."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """Return how many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Tell whether this process is the one that writes."""
    return rank() == 0


def is_first_here() -> bool:
    """Tell whether this process is the first one of its machine."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def wrap(model: nn.Module) -> nn.Module:
    """Return the model as it is to be trained: gradients are averaged over the processes."""
    if world() == 1:
        return model
    return DistributedDataParallel(model)


def total(values: Tensor) -> Tensor:
    """Return the sum over all processes."""
    if world() > 1:
        dist.all_reduce(values)
    return values


def least(count: int, device: torch.device) -> int:
    """Return the smallest count of all processes: what all of them can do."""
    if world() == 1:
        return count
    smallest = torch.tensor(count, device=device)
    dist.all_reduce(smallest, op=dist.ReduceOp.MIN)
    return int(smallest)


def share_buffers(model: nn.Module) -> None:
    """Give every process the statistics of the main one: one model is judged, and it is kept."""
    if world() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def agreed(value: bool) -> bool:
    """Return what the main process thinks, in every process."""
    return from_main(lambda: value)


def from_main(read: Callable[[], T]) -> T:
    """Return what the main process reads, or raise what stops it, in every process.

    No other one need see the disk that the main one writes to.
    """
    if world() == 1:
        return read()
    box: list[Any] = [None, None]
    if is_main():
        try:
            box[0] = read()
        except Exception as error:
            box[1] = error
    dist.broadcast_object_list(box, src=0)
    found, problem = box
    if problem is not None:
        raise problem
    return found  # type: ignore[no-any-return]


def gathered(values: list[T]) -> list[T]:
    """Return the values of all processes, in every process."""
    if world() == 1:
        return values
    each: list[Any] = [None] * world()
    dist.all_gather_object(each, values)
    return [value for values in each for value in values]


def barrier() -> None:
    """Wait for all."""
    if world() > 1:
        dist.barrier()


def sampler(dataset: Sized, *, training: bool, seed: int) -> ShareSampler:
    """Return the sampler of this process."""
    return ShareSampler(len(dataset), shuffled=training, seed=seed)


class ShareSampler(Sampler[int]):
    """The share of a data set that is this process's: shuffled anew each epoch, or in order.

    Training shares have the same length, so that all take the same number of steps: what does
    not divide is left out, another part each epoch. Evaluation shares cover everything once and
    are not padded, so that metrics are exact.
    """

    def __init__(self, length: int, *, shuffled: bool, seed: int) -> None:
        self._length = length
        self._shuffled = shuffled
        self._seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch; the same number gives the same order."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        if not self._shuffled:
            return iter(range(rank(), self._length, world()))
        generator = torch.Generator().manual_seed(self._seed * 100_003 + self.epoch)
        order = torch.randperm(self._length, generator=generator).tolist()
        return iter(order[: len(self) * world()][rank() :: world()])

    def __len__(self) -> int:
        if self._shuffled:
            return self._length // world()
        return len(range(rank(), self._length, world()))
