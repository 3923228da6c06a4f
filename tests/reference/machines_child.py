"""Started by torchrun: two processes that share no disk, as on two machines, train and resume."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from reference_impl.lunar import distributed
from reference_impl.lunar.training import Options, train_model


def main(path: str) -> None:
    with distributed.joined():
        folder = Path(path) / str(distributed.rank())
        random = torch.Generator().manual_seed(distributed.rank())
        data = TensorDataset(torch.rand(8, 3, 4, 4, generator=random), torch.arange(8) % 2)
        loader = DataLoader(data, batch_size=4)
        for epochs in (1, 2):
            model = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
            options = Options(resume=True, amp="off")
            result = train_model(model, loader, loader, epochs, save_dir=folder, options=options)
        weights = nn.utils.parameters_to_vector(model.parameters()).detach()
        state = {"weights": weights, "f1": [record["f1"] for record in result["history"]]}
        torch.save(state, f"{path}/{distributed.rank()}.pt")


if __name__ == "__main__":
    main(*sys.argv[1:])
