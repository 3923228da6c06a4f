"""Командная строка: флаги → загрузчики → модель → обучение → config.json и results.json."""

import argparse
import json
import logging
import os
import random

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter

import model as models
import preprocessing
import training

# Флаги и значения по умолчанию; тип флага — тип значения, False означает store_true.
FLAGS = {
    "data_dir": "lunar_images",
    "save_dir": "checkpoints",
    "model_type": "hybrid",
    "num_classes": 5,
    "dropout": 0.3,
    "pretrained": False,
    "epochs": 50,
    "batch_size": 8,
    "lr": 1e-4,
    "weight_decay": 1e-5,
    "gamma": 2.0,
    "patience": 7,
    "val_split": 0.2,
    "num_workers": 4,
    "create_sample_data": False,
    "seed": 42,
    "resume": None,
    "config": None,
}


def draw_craters(radius, rng):
    """Снимок 256×256 с кратерами одного радиуса: светлый вал, тёмное дно."""
    picture = Image.new("L", (256, 256), 130)
    pen = ImageDraw.Draw(picture)
    count = max(3, int(4000 / radius**2))
    for _ in range(count):
        x, y = (rng.randint(0, 255) for _ in range(2))
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=70)
        pen.ellipse(
            (x - radius, y - radius, x + radius, y + radius),
            outline=220,
            width=max(1, radius // 4),
        )
    return picture.filter(ImageFilter.GaussianBlur(1))


def create_sample_data(directory, num_samples=200, num_classes=5):
    """Снимки PNG по папкам классов; классы различаются размером кратеров."""
    rng = random.Random(7)
    for label in range(num_classes):
        folder = os.path.join(directory, f"craters_{label:03d}")
        os.makedirs(folder, exist_ok=True)
        radius = round(4 * (15 ** (label / max(num_classes - 1, 1))))  # от 4 до 60 пикселей
        for number in range(label, num_samples, num_classes):
            draw_craters(radius, rng).save(os.path.join(folder, f"{number:05d}.png"))


def read_flags(arguments=None):
    """Значения флагов: сначала из --config, поверх них — из командной строки."""
    parser = argparse.ArgumentParser(argument_default=argparse.SUPPRESS)
    for name, default in FLAGS.items():
        if default is False:
            parser.add_argument(f"--{name}", action="store_true")
        else:
            parser.add_argument(f"--{name}", type=str if default is None else type(default))
    given = vars(parser.parse_args(arguments))
    stored = {}
    if given.get("config"):
        with open(given["config"], encoding="utf-8") as file:
            stored = json.load(file)
    strange = set(stored) - set(FLAGS)
    if strange:
        parser.error(f"в {given['config']} есть неизвестные флаги: {sorted(strange)}")
    return {**FLAGS, **stored, **given}


def write(folder, name, values):
    """Записать JSON в папку."""
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        json.dump(values, file, indent=4)


def main():
    logging.basicConfig(level=logging.INFO)
    flags = read_flags()
    # Одно число задаёт все источники случайности.
    random.seed(flags["seed"])
    np.random.seed(flags["seed"])
    torch.manual_seed(flags["seed"])
    if flags["create_sample_data"]:
        create_sample_data(flags["data_dir"], num_classes=flags["num_classes"])
    loaders = preprocessing.create_train_val_dataloaders(
        flags["data_dir"], flags["val_split"], flags["batch_size"], flags["num_workers"]
    )
    model = models.create_model(
        flags["model_type"], flags["num_classes"], flags["dropout"], flags["pretrained"]
    )
    if flags["resume"]:
        model = training.load_model(model, flags["resume"], "cpu")
    write(flags["save_dir"], "config.json", flags)
    outcome = training.train_model(
        model,
        *loaders,
        num_epochs=flags["epochs"],
        learning_rate=flags["lr"],
        weight_decay=flags["weight_decay"],
        gamma=flags["gamma"],
        patience=flags["patience"],
        save_dir=flags["save_dir"],
        use_amp=torch.cuda.is_available(),
    )
    write(flags["save_dir"], "results.json", {k: outcome[k] for k in ("best_f1", "total_time")})


if __name__ == "__main__":
    main()
