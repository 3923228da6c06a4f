"""The program."""

import json
import logging
import os
import random

import numpy as np
import torch
from flags import parse_flags
from model import create_model
from preprocessing import create_train_val_dataloaders
from samples import create_sample_data
from training import load_model, train_model


def write(flags, name, values):
    """Write a JSON file into save_dir."""
    with open(os.path.join(flags.save_dir, name), "w") as file:
        json.dump(values, file, indent=1)


def main():
    """Train and note the results."""
    flags = parse_flags()
    logging.basicConfig(level=logging.INFO)
    random.seed(flags.seed)
    np.random.seed(flags.seed)
    torch.manual_seed(flags.seed)
    os.makedirs(flags.save_dir, exist_ok=True)
    write(flags, "config.json", vars(flags))
    if flags.create_sample_data:
        create_sample_data(flags.data_dir, num_classes=flags.num_classes)
    train_loader, val_loader = create_train_val_dataloaders(
        flags.data_dir, flags.val_split, flags.batch_size, flags.num_workers
    )
    model = create_model(flags.model_type, flags.num_classes, flags.dropout, flags.pretrained)
    if flags.resume:
        load_model(model, flags.resume, torch.device("cpu"))
    results = train_model(
        model, train_loader, val_loader, flags.epochs, learning_rate=flags.lr,
        weight_decay=flags.weight_decay, gamma=flags.gamma, patience=flags.patience,
        save_dir=flags.save_dir,
    )
    write(flags, "results.json", {key: results[key] for key in ("best_f1", "total_time")})


if __name__ == "__main__":
    main()
