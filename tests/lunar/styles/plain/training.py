"""Обучение классификатора: потери, метрики, цикл обучения, графики."""

import logging
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # рисовать без экрана

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

logger = logging.getLogger(__name__)


class FocalLoss(nn.Module):
    """Focal Loss по логитам для многих классов."""

    def __init__(self, gamma=2.0):
        super().__init__()
        self.gamma = gamma

    def forward(self, logits, targets):
        ce = F.cross_entropy(logits, targets, reduction="none")
        p_t = torch.exp(-ce)
        return ((1.0 - p_t) ** self.gamma * ce).mean()


def _ratio(numerator, denominator):
    """Частное; 0, если делить не на что."""
    return numerator / denominator if denominator > 0 else 0.0


def compute_metrics(targets, predictions, num_classes):
    """Посчитать accuracy и средние по классам precision, recall и F1."""
    precisions, recalls, scores = [], [], []
    for number in range(num_classes):
        predicted = predictions == number
        actual = targets == number
        tp = int((predicted & actual).sum())
        fp = int((predicted & ~actual).sum())
        fn = int((~predicted & actual).sum())
        precision = _ratio(tp, tp + fp)
        recall = _ratio(tp, tp + fn)
        precisions.append(precision)
        recalls.append(recall)
        scores.append(_ratio(2 * precision * recall, precision + recall))
    return {
        "accuracy": _ratio(int((predictions == targets).sum()), len(targets)),
        "precision": sum(precisions) / num_classes,
        "recall": sum(recalls) / num_classes,
        "f1": sum(scores) / num_classes,
    }


def plot_history(history, path):
    """Нарисовать кривые обучения в файл PNG."""
    panels = [
        ("Loss", ["train_loss", "val_loss"]),
        ("Accuracy", ["accuracy"]),
        ("Precision / Recall", ["precision", "recall"]),
        ("F1", ["f1"]),
        ("Learning rate", ["lr"]),
    ]
    epochs = [record["epoch"] for record in history]
    figure, axes = plt.subplots(2, 3, figsize=(15, 8))
    for axis, (title, names) in zip(axes.flat, panels):
        for name in names:
            axis.plot(epochs, [record[name] for record in history], marker="o", label=name)
        axis.set_title(title)
        axis.set_xlabel("epoch")
        axis.grid(True)
        axis.legend()
    axes.flat[-1].axis("off")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def _autocast(device, use_amp):
    """Смешанная точность: float16 на видеокарте, bfloat16 на процессоре."""
    dtype = torch.float16 if device.type == "cuda" else torch.bfloat16
    return torch.autocast(device_type=device.type, dtype=dtype, enabled=use_amp)


def _train_epoch(model, loader, criterion, optimizer, scaler, device, use_amp, accumulation_steps):
    """Пройти одну эпоху обучения и вернуть среднюю потерю."""
    model.train()
    total, count = 0.0, 0
    for images, labels in loader:
        images = images.to(device, non_blocking=True)
        labels = labels.to(device, non_blocking=True)
        optimizer.zero_grad()
        # Пакет делится на части, чтобы большие снимки поместились в память.
        parts = zip(
            torch.chunk(images, accumulation_steps), torch.chunk(labels, accumulation_steps)
        )
        for part_images, part_labels in parts:
            share = len(part_labels) / len(labels)
            with _autocast(device, use_amp):
                loss = criterion(model(part_images).float(), part_labels)
            # Доля части в пакете сохраняет среднее по всему пакету.
            scaler.scale(loss * share).backward()
            total += loss.item() * len(part_labels)
        scaler.step(optimizer)
        scaler.update()
        count += len(labels)
    return total / max(count, 1)


@torch.no_grad()
def _validate(model, loader, criterion, device, use_amp):
    """Вернуть среднюю потерю и метрики на проверочных снимках."""
    model.eval()
    total = 0.0
    num_classes = 1
    targets, predictions = [], []
    for images, labels in loader:
        images = images.to(device, non_blocking=True)
        labels = labels.to(device, non_blocking=True)
        with _autocast(device, use_amp):
            logits = model(images).float()
            loss = criterion(logits, labels)
        num_classes = logits.shape[1]
        total += loss.item() * len(labels)
        targets.append(labels.cpu())
        predictions.append(logits.argmax(dim=1).cpu())
    if not targets:
        return 0.0, compute_metrics(torch.zeros(0), torch.zeros(0), 1)
    targets = torch.cat(targets)
    metrics = compute_metrics(targets, torch.cat(predictions), num_classes)
    return total / len(targets), metrics


def train_model(
    model,
    train_loader,
    val_loader,
    num_epochs,
    learning_rate=1e-4,
    weight_decay=1e-5,
    gamma=2.0,
    patience=7,
    save_dir="checkpoints",
    use_amp=False,
    accumulation_steps=1,
):
    """Обучить модель, сохранить лучшую и вернуть итоги."""
    start = time.time()
    save_dir = Path(save_dir)
    save_dir.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)

    criterion = FocalLoss(gamma)
    # Замороженные параметры оптимизатору не нужны.
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=learning_rate, weight_decay=weight_decay)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
    # Масштаб градиентов нужен только для float16 на видеокарте.
    scaler = torch.amp.GradScaler(device.type, enabled=use_amp and device.type == "cuda")

    history = []
    best_f1 = -1.0
    waited = 0
    for epoch in range(1, num_epochs + 1):
        train_loss = _train_epoch(
            model, train_loader, criterion, optimizer, scaler, device, use_amp, accumulation_steps
        )
        val_loss, metrics = _validate(model, val_loader, criterion, device, use_amp)
        record = {
            "epoch": epoch,
            "train_loss": train_loss,
            "val_loss": val_loss,
            **metrics,
            "lr": optimizer.param_groups[0]["lr"],
        }
        history.append(record)
        logger.info(
            "Эпоха %d/%d: train_loss=%.4f val_loss=%.4f accuracy=%.4f precision=%.4f "
            "recall=%.4f f1=%.4f lr=%.2e",
            epoch,
            num_epochs,
            train_loss,
            val_loss,
            metrics["accuracy"],
            metrics["precision"],
            metrics["recall"],
            metrics["f1"],
            record["lr"],
        )
        scheduler.step()

        if metrics["f1"] > best_f1:
            best_f1 = metrics["f1"]
            waited = 0
            torch.save(model.state_dict(), save_dir / "best_model.pth")
        else:
            waited += 1
            if waited >= patience:
                logger.info("Ранняя остановка: F1 не растёт %d эпох подряд", waited)
                break

    plot_history(history, save_dir / "training_history.png")
    return {"best_f1": best_f1, "total_time": time.time() - start, "history": history}


def load_model(model, path, device):
    """Загрузить веса в модель и вернуть её на device в режиме eval."""
    state = torch.load(path, map_location=device, weights_only=True)
    model.load_state_dict(state)
    model.to(device)
    model.eval()
    return model
