"""Travels into the sandbox: trains a tiny network with mixed precision or in parts of batches."""

import os
import tempfile
from pathlib import Path

import torch
from matplotlib.backend_bases import FigureCanvasBase
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Network(nn.Module):
    """Two linear layers that note how, and with what, they are called."""

    def __init__(self, weights):
        super().__init__()
        first, second = (torch.as_tensor(each).float() for each in weights)  # out×in
        self.first = nn.Linear(first.shape[1], len(first))
        self.head = nn.Linear(second.shape[1], len(second))
        with torch.no_grad():
            for layer, values in ((self.first, first), (self.head, second)):
                layer.weight.copy_(values)
                layer.bias.zero_()
        self.calls, self.states, self.gradients = [], [], []

    def forward(self, images):
        hidden = self.first(images.flatten(1))
        self._note(images, hidden.dtype)
        logits = self.head(torch.tanh(hidden))
        if self.training and logits.requires_grad:
            logits.register_hook(self._received)
        return logits

    def _note(self, images, dtype):
        row = torch.cat([each.detach().flatten().double().cpu() for each in self.parameters()])
        if not self.states or not torch.equal(self.states[-1], row):
            self.states.append(row)
            self.gradients.append([])
        call = {
            "training": self.training,
            "autocast": torch.is_autocast_enabled(images.device.type),
            "dtype": str(dtype),
            "weights": sorted({str(each.dtype) for each in self.parameters()}),
            "size": len(images),
            "step": len(self.states),
        }
        self.calls.append(call)

    def _received(self, gradient):
        self.gradients[-1].append(gradient.detach().double().cpu())


def run(candidate, weights, images, labels, batch, arguments):
    """Train on the images, validate on the same, and tell what the network saw."""
    FigureCanvasBase.print_figure = _no_picture  # it takes a second, and is not asked about here
    network, folder = Network(weights), Path(tempfile.mkdtemp(dir=".")) / "kept"
    data = TensorDataset(torch.as_tensor(images).float(), torch.as_tensor(labels).long())
    loaders = [DataLoader(data, batch_size=batch, shuffle=False) for _ in range(2)]
    candidate.training.train_model(network, *loaders, **arguments, save_dir=str(folder))
    gradients = [torch.cat(parts) for parts in network.gradients if parts]
    return {
        "calls": network.calls,
        "states": torch.stack(network.states),  # states×parameters
        "gradients": torch.stack(gradients[:1]),  # 1×batch×C, of the first step
    }


def _no_picture(_, filename, *arguments, **options):
    if isinstance(filename, str | os.PathLike):
        Path(filename).touch()
