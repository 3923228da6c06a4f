"""Command line of the Moon classifier: data, model, training, results."""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from model import create_model
from preprocessing import create_train_val_dataloaders
from training import load_model, train_model


@dataclass(frozen=True)
class Settings:
    """All flags, with their defaults."""

    data_dir: str = "lunar_images"
    save_dir: str = "checkpoints"
    model_type: str = "hybrid"
    num_classes: int = 5
    dropout: float = 0.3
    pretrained: bool = False
    epochs: int = 50
    batch_size: int = 8
    lr: float = 1e-4
    weight_decay: float = 1e-5
    gamma: float = 2.0
    patience: int = 7
    val_split: float = 0.2
    num_workers: int = 4
    create_sample_data: bool = False
    seed: int = 42
    resume: str | None = None
    config: str | None = None


NUMBERS = {"int": int, "float": float}


def build_parser() -> argparse.ArgumentParser:
    """Make a flag of every setting."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    for setting in fields(Settings):
        assert setting.default is not MISSING
        if setting.type == "bool":
            parser.add_argument(f"--{setting.name}", action="store_true")
        else:
            kind = NUMBERS.get(str(setting.type), str)
            parser.add_argument(f"--{setting.name}", type=kind, default=setting.default)
    return parser


def parse_settings(argv: list[str]) -> Settings:
    """Read the flags; what the command line says outranks the file of --config."""
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--config")
    path = finder.parse_known_args(argv)[0].config
    parser = build_parser()
    if path is not None:
        values: dict[str, Any] = json.loads(Path(path).read_text())
        known = {setting.name for setting in fields(Settings)}
        if not values.keys() <= known:
            parser.error(f"{path}: unknown flags {sorted(values.keys() - known)}")
        parser.set_defaults(**values)
    return Settings(**vars(parser.parse_args(argv)))


def create_sample_data(
    directory: str | Path, num_samples: int = 200, num_classes: int = 5
) -> None:
    """Write mosaics of random gray cells, 256 x 256; the size of the cells is the class."""
    dice = np.random.default_rng(2024)
    sizes = np.geomspace(4, 64, num_classes).round().astype(int)
    for number in range(num_samples):
        label = number % num_classes
        folder = Path(directory) / f"terrain_{label:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        size = int(sizes[label])
        cells = dice.integers(40, 216, (256 // size + 2,) * 2, dtype=np.uint8)
        mosaic = np.kron(cells, np.ones((size, size), dtype=np.uint8))
        top, left = dice.integers(0, size, 2)
        tile = np.ascontiguousarray(mosaic[top : top + 256, left : left + 256])
        Image.fromarray(tile).save(folder / f"tile_{number:05d}.png")


def seed_everything(seed: int) -> None:
    """Start all global generators from one number."""
    for start in (random.seed, np.random.seed, torch.manual_seed):
        start(seed)


def run(settings: Settings) -> None:
    """Do what the settings say."""
    output = Path(settings.save_dir)
    output.mkdir(parents=True, exist_ok=True)
    (output / "config.json").write_text(json.dumps(asdict(settings), indent=2))
    seed_everything(settings.seed)
    if settings.create_sample_data:
        create_sample_data(settings.data_dir, num_classes=settings.num_classes)
    train_loader, val_loader = create_train_val_dataloaders(
        image_dir=settings.data_dir,
        val_split=settings.val_split,
        batch_size=settings.batch_size,
        num_workers=settings.num_workers,
    )
    model = create_model(
        model_type=settings.model_type,
        num_classes=settings.num_classes,
        dropout_prob=settings.dropout,
        pretrained=settings.pretrained,
    )
    if settings.resume is not None:
        load_model(model, settings.resume, "cpu")
    result = train_model(
        model=model,
        train_loader=train_loader,
        val_loader=val_loader,
        num_epochs=settings.epochs,
        learning_rate=settings.lr,
        weight_decay=settings.weight_decay,
        gamma=settings.gamma,
        patience=settings.patience,
        save_dir=settings.save_dir,
        use_amp=torch.cuda.is_available(),
    )
    del result["history"]  # it is drawn, and too long for the summary
    (output / "results.json").write_text(json.dumps(result, indent=2))


def main() -> None:
    """Parse the command line and run."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    run(parse_settings(sys.argv[1:]))


if __name__ == "__main__":
    main()
