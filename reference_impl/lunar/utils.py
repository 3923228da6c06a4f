"""Small helpers of main.py: seeds, folders, configuration, and what the machine is."""

from __future__ import annotations

import csv
import json
import os
import platform
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reference_impl.lunar.files import replacing
from reference_impl.lunar.samples import create_sample_data

__all__ = [
    "create_directory_structure",
    "create_sample_data",
    "get_device_info",
    "load_config",
    "print_system_info",
    "save_config",
    "save_history",
    "set_seed",
]


def set_seed(seed: int) -> None:
    """Make Python, NumPy and torch draw the same numbers again."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # libraries still use it
    torch.manual_seed(seed)


def get_device_info() -> dict[str, Any]:
    """Return what a training runs on."""
    cuda = torch.cuda.is_available()
    return {
        "device": "cuda" if cuda else "cpu",
        "name": torch.cuda.get_device_name() if cuda else platform.processor() or "CPU",
        "cores": os.cpu_count(),
        "gpus": torch.cuda.device_count(),
        "gpu_memory_gb": (
            round(torch.cuda.get_device_properties(0).total_memory / 1e9, 1) if cuda else 0.0
        ),
    }


def print_system_info() -> None:
    """Print the versions and the device, one line each."""
    info = get_device_info()
    print(f"python {platform.python_version()}, torch {torch.__version__}")  # noqa: T201
    print(f"device: {info['device']} ({info['name']}, {info['cores']} cores)")  # noqa: T201


def create_directory_structure(base: str | Path, classes: Sequence[str] = ()) -> Path:
    """Make a folder, with a folder for each class in it, and return it."""
    for folder in (Path(base), *(Path(base) / name for name in classes)):
        folder.mkdir(parents=True, exist_ok=True)
    return Path(base)


def save_config(config: Mapping[str, Any], path: str | Path) -> None:
    """Write a configuration, or any result, as JSON; whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", "utf-8")


def load_config(path: str | Path) -> dict[str, Any]:
    """Read a configuration that `save_config` has written.

    Raises:
        ValueError: there is none, or it is no JSON object.
    """
    try:
        config = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is no configuration that can be read: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path} must hold a JSON object")  # noqa: TRY004 - a wrong file
    return config


def save_history(history: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Write the records of all epochs as CSV; whole or not at all."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(history[0]) if history else ["epoch"])
        writer.writeheader()
        writer.writerows(history)
