"""Запуск целиком: снимки, модель, обучение, итоги."""

import argparse
import json
import logging
import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from model import create_model
from preprocessing import create_train_val_dataloaders
from training import load_model, train_model

logger = logging.getLogger(__name__)


def create_sample_data(directory, num_samples=200, num_classes=5):
    """Создать PNG 256×256: у каждого класса свои кольца, от широких до узких."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[0:256, 0:256] / 256.0
    frequencies = np.linspace(3.0, 30.0, num_classes)
    for number in range(num_samples):
        label = number % num_classes
        folder = Path(directory) / f"class_{label:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        # Центр и сдвиг колец случайны, частоту задаёт класс.
        center = generator.uniform(0.2, 0.8, size=2)
        phase = generator.uniform(0.0, 2 * np.pi)
        radius = np.hypot(rows - center[0], columns - center[1])
        pattern = 0.5 + 0.3 * np.sin(2 * np.pi * frequencies[label] * radius + phase)
        pattern += generator.normal(0.0, 0.03, pattern.shape)
        pixels = (np.clip(pattern, 0.0, 1.0) * 255).round().astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"sample_{number:04d}.png")


def build_parser():
    """Описать флаги командной строки."""
    parser = argparse.ArgumentParser(description="Обучение классификатора снимков Луны")
    parser.add_argument("--data_dir", default="lunar_images", help="папка <класс>/<файл>")
    parser.add_argument("--save_dir", default="checkpoints", help="папка для итогов")
    parser.add_argument("--model_type", default="hybrid", help="hybrid или simple")
    parser.add_argument("--num_classes", type=int, default=5)
    parser.add_argument("--dropout", type=float, default=0.3)
    parser.add_argument("--pretrained", action="store_true", help="веса ImageNet")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--weight_decay", type=float, default=1e-5)
    parser.add_argument("--gamma", type=float, default=2.0)
    parser.add_argument("--patience", type=int, default=7)
    parser.add_argument("--val_split", type=float, default=0.2)
    parser.add_argument("--num_workers", type=int, default=4)
    parser.add_argument("--create_sample_data", action="store_true", help="создать снимки")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--resume", default=None, help="путь к best_model.pth")
    parser.add_argument("--config", default=None, help="JSON со значениями флагов")
    return parser


def parse_args():
    """Прочитать флаги; значения из --config служат значениями по умолчанию."""
    parser = build_parser()
    args = parser.parse_args()
    if args.config:
        values = json.loads(Path(args.config).read_text(encoding="utf-8"))
        unknown = sorted(set(values) - set(vars(args)))
        if unknown:
            parser.error(f"неизвестные флаги в {args.config}: {', '.join(unknown)}")
        values.pop("config", None)
        parser.set_defaults(**values)
        args = parser.parse_args()
    return args


def set_seed(seed):
    """Сделать запуск повторяемым."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def write_json(path, values):
    """Записать значения в файл JSON."""
    text = json.dumps(values, ensure_ascii=False, indent=2)
    Path(path).write_text(text + "\n", encoding="utf-8")


def main():
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    args = parse_args()
    set_seed(args.seed)
    save_dir = Path(args.save_dir)
    save_dir.mkdir(parents=True, exist_ok=True)
    write_json(save_dir / "config.json", vars(args))

    if args.create_sample_data:
        create_sample_data(args.data_dir, num_classes=args.num_classes)
    train_loader, val_loader = create_train_val_dataloaders(
        args.data_dir,
        val_split=args.val_split,
        batch_size=args.batch_size,
        num_workers=args.num_workers,
    )
    model = create_model(args.model_type, args.num_classes, args.dropout, args.pretrained)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if args.resume:
        # Продолжить с сохранённых весов.
        model = load_model(model, args.resume, device)
    result = train_model(
        model,
        train_loader,
        val_loader,
        args.epochs,
        learning_rate=args.lr,
        weight_decay=args.weight_decay,
        gamma=args.gamma,
        patience=args.patience,
        save_dir=args.save_dir,
        use_amp=torch.cuda.is_available(),
    )
    results = {"best_f1": result["best_f1"], "total_time": result["total_time"]}
    write_json(save_dir / "results.json", results)
    logger.info("Лучший F1: %.4f за %.1f с", result["best_f1"], result["total_time"])


if __name__ == "__main__":
    main()
