"""Обучение: focal loss через log_softmax, метрики через bincount, один цикл по эпохам."""

import logging
import os
import time

import torch
import torch.nn.functional as F
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

log = logging.getLogger("lunar.training")

CURVES = (
    ("потери", ("train_loss", "val_loss")),
    ("accuracy", ("accuracy",)),
    ("precision и recall", ("precision", "recall")),
    ("F1", ("f1",)),
    ("скорость обучения", ("lr",)),
)


def focal_loss(logits, targets, gamma=2.0):
    """Среднее (1 − p_t)^gamma · (−log p_t) по пакету."""
    log_p = F.log_softmax(logits, dim=1).gather(1, targets.unsqueeze(1)).squeeze(1)
    miss = (1.0 - log_p.exp()).clamp_min(0.0)
    return (miss.pow(gamma) * -log_p).mean()


def compute_metrics(targets, predictions, num_classes):
    """Accuracy и средние по классам precision, recall, F1; 0 вместо деления на ноль."""
    cells = targets.long() * num_classes + predictions.long()
    table = torch.bincount(cells, minlength=num_classes**2).double()
    table = table.reshape(num_classes, num_classes)  # строки — истина, столбцы — ответы
    hits, actual, given = table.diagonal(), table.sum(dim=1), table.sum(dim=0)
    # Знаменатель не меньше 1: если он 0, то и числитель 0.
    return {
        "accuracy": float(hits.sum() / table.sum().clamp_min(1.0)),
        "precision": float((hits / given.clamp_min(1.0)).mean()),
        "recall": float((hits / actual.clamp_min(1.0)).mean()),
        "f1": float((2.0 * hits / (actual + given).clamp_min(1.0)).mean()),
    }


def plot_history(history, path):
    """Пять кривых друг под другом в одном файле PNG, без экрана."""
    figure = Figure(figsize=(8, 16), layout="tight")
    FigureCanvasAgg(figure)
    steps = [row["epoch"] for row in history]
    for place, (title, names) in enumerate(CURVES, start=1):
        axes = figure.add_subplot(len(CURVES), 1, place)
        for name in names:
            axes.plot(steps, [row[name] for row in history], ".-", label=name)
        axes.set_ylabel(title)
        axes.legend(loc="best")
    axes.set_xlabel("эпоха")
    figure.savefig(path, format="png")


def mixed(device, use_amp):
    """Контекст смешанной точности."""
    kinds = {"cuda": torch.float16, "cpu": torch.bfloat16}
    return torch.autocast(device.type, dtype=kinds[device.type], enabled=use_amp)


def train_step(model, batch, optimizer, scaler, gamma, device, use_amp, accumulation_steps):
    """Один шаг оптимизатора на пакет, пройденный по частям; вернуть потерю пакета."""
    images, labels = (tensor.to(device, non_blocking=True) for tensor in batch)
    optimizer.zero_grad(set_to_none=True)
    whole = 0.0
    pieces = [torch.chunk(tensor, accumulation_steps) for tensor in (images, labels)]
    for piece, answers in zip(*pieces):
        with mixed(device, use_amp):
            loss = focal_loss(model(piece).float(), answers, gamma)
            loss = loss * (answers.numel() / labels.numel())  # доля части в пакете
        scaler.scale(loss).backward()
        whole += float(loss.detach())
    scaler.step(optimizer)
    scaler.update()
    return whole


def evaluate(model, loader, gamma, device, use_amp):
    """Потеря и метрики на проверочных снимках."""
    model.eval()
    answers, truth = [], []
    with torch.inference_mode():
        for images, labels in loader:
            with mixed(device, use_amp):
                answers.append(model(images.to(device)).float().cpu())
            truth.append(labels.cpu())
        if not answers:
            raise ValueError("В val_loader нет ни одного пакета")
        logits, targets = torch.cat(answers), torch.cat(truth)
        with mixed(device, use_amp):
            loss = float(focal_loss(logits, targets, gamma))
    return loss, compute_metrics(targets, logits.argmax(1), logits.shape[1])


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
    """Обучать, пока растёт F1; вернуть best_f1, total_time и history."""
    began = time.perf_counter()
    os.makedirs(save_dir, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device)
    optimizer = torch.optim.AdamW(
        filter(lambda weight: weight.requires_grad, model.parameters()),
        lr=learning_rate,
        weight_decay=weight_decay,
    )
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
    scaler = torch.amp.GradScaler(device.type, enabled=use_amp and device.type == "cuda")

    history, best_f1, best_epoch = [], -1.0, 0
    for epoch in range(1, num_epochs + 1):
        model.train()
        losses, sizes = [], []
        for batch in train_loader:
            losses.append(
                train_step(
                    model, batch, optimizer, scaler, gamma, device, use_amp, accumulation_steps
                )
            )
            sizes.append(len(batch[1]))
        train_loss = sum(a * b for a, b in zip(losses, sizes)) / max(sum(sizes), 1)
        val_loss, metrics = evaluate(model, val_loader, gamma, device, use_amp)
        lr = scheduler.get_last_lr()[0]
        row = {"epoch": epoch, "train_loss": train_loss, "val_loss": val_loss, **metrics, "lr": lr}
        history.append(row)
        log.info("эпоха %s", "  ".join(f"{name} {value:.5g}" for name, value in row.items()))
        scheduler.step()
        if row["f1"] > best_f1:
            best_f1, best_epoch = row["f1"], epoch
            torch.save(model.state_dict(), os.path.join(save_dir, "best_model.pth"))
        elif epoch - best_epoch >= patience:
            log.info("F1 не растёт %d эпох, обучение остановлено", patience)
            break

    plot_history(history, os.path.join(save_dir, "training_history.png"))
    return {"best_f1": best_f1, "total_time": time.perf_counter() - began, "history": history}


def load_model(model, path, device):
    """Модель с весами из path — на device, в режиме eval."""
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model.to(device).eval()
