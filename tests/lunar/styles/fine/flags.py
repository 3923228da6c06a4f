"""The flags of the program."""

import argparse
import json


def parse_flags(arguments=None):
    """Read the command line, and the file that it names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data_dir", default="lunar_images")
    parser.add_argument("--save_dir", default="checkpoints")
    parser.add_argument("--model_type", default="hybrid")
    parser.add_argument("--num_classes", type=int, default=5)
    parser.add_argument("--dropout", type=float, default=0.3)
    parser.add_argument("--pretrained", action="store_true")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--weight_decay", type=float, default=1e-5)
    parser.add_argument("--gamma", type=float, default=2.0)
    parser.add_argument("--patience", type=int, default=7)
    parser.add_argument("--val_split", type=float, default=0.2)
    parser.add_argument("--num_workers", type=int, default=4)
    parser.add_argument("--create_sample_data", action="store_true")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--resume")
    parser.add_argument("--config")
    flags = parser.parse_args(arguments)
    if flags.config:
        with open(flags.config) as file:
            parser.set_defaults(**json.load(file))
        flags = parser.parse_args(arguments)
    return flags
