"""Checkpoints: written whole or not at all, read without running code that is in them."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reference_impl.lunar.files import replacing

log = logging.getLogger(__name__)


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message says which, why, and the way out."""


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint beside its place and move it there: a crash leaves the old one."""
    with replacing(path) as temporary:
        torch.save(state, temporary)


def load_state(path: str | Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint: tensors and plain values only (`weights_only`).

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no checkpoint {path}") from error
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        first = str(error).partition("\n")[0]
        raise CheckpointError(f"{path} is no checkpoint that can be read: {first}") from error
    if not isinstance(state, dict) or not state:
        raise CheckpointError(f"{path} is no checkpoint: it holds no weights")
    return state


def load_model(model: nn.Module, path: str | Path, device: torch.device | str = "cpu") -> nn.Module:
    """Put the weights of a checkpoint into a model, and return it on the device, in eval mode.

    Raises:
        CheckpointError: there is no checkpoint, it is damaged, or it is of another model.
    """
    load_weights(model, load_state(path, device), path)
    return model.to(device).eval()


def load_weights(model: nn.Module, state: dict[str, Any], path: str | Path) -> None:
    """Put the weights of what was read from `path` into a model.

    Raises:
        CheckpointError: they are of another model.
    """
    try:
        model.load_state_dict(state.get("model", state))
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise CheckpointError(
            f"{path} is of another model: {lines[1].strip() if len(lines) > 1 else lines[0]}; "
            "give the options that it was trained with"
        ) from error


def load_trunk(model: nn.Module, path: str | Path) -> int:
    """Put the backbone of a checkpoint into a model with another head; return the tensors taken.

    It may be the first stages only; a frozen stage that it lacks is warned of.

    Raises:
        CheckpointError: there is no checkpoint, or it has no backbone, or one that does not fit.
    """
    state = load_state(path)
    weights = state.get("model", state)
    own = model.state_dict()
    trunk = {name: value for name, value in weights.items() if name.startswith("backbone.")}
    strange = [n for n, value in trunk.items() if n not in own or own[n].shape != value.shape]
    if strange or not trunk:
        why = f": {strange[0]} is of another one" if strange else ""
        raise CheckpointError(f"{path} has no backbone that fits this model{why}")
    frozen = (n for n, each in model.named_parameters() if not each.requires_grad)
    missing = [name for name in frozen if name not in trunk]
    if missing:
        log.warning("%s has no %s, which is frozen and stays as it was", path, missing[0])
    model.load_state_dict(trunk, strict=False)
    return len(trunk)
