"""The training."""

import logging
import os
import time

import torch
from curves import plot_history
from epochs import train_epoch
from evaluation import evaluate
from loss import FocalLoss
from scores import compute_metrics

LOGGER = logging.getLogger(__name__)


def train_model(
    model, train_loader, val_loader, num_epochs, learning_rate=1e-4, weight_decay=1e-5, gamma=2.0,
    patience=7, save_dir="checkpoints", use_amp=False, accumulation_steps=1,
):
    """Train a model."""
    begin = time.time()
    os.makedirs(save_dir, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    criterion = FocalLoss(gamma)
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=learning_rate, weight_decay=weight_decay
    )
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
    scaler = torch.amp.GradScaler(device.type, enabled=use_amp and device.type == "cuda")
    history, best_f1, waited = [], -1.0, 0
    for epoch in range(1, num_epochs + 1):
        lr = optimizer.param_groups[0]["lr"]
        train_loss = train_epoch(
            model, train_loader, criterion, optimizer, scaler, device, use_amp, accumulation_steps
        )
        val_loss, targets, predictions, classes = evaluate(model, val_loader, criterion, device, use_amp)
        row = {"epoch": epoch, "train_loss": train_loss, "val_loss": val_loss,
               **compute_metrics(targets, predictions, classes), "lr": lr}
        history.append(row)
        LOGGER.info("%s", row)
        scheduler.step()
        if row["f1"] > best_f1:
            best_f1, waited = row["f1"], 0
            torch.save(model.state_dict(), os.path.join(save_dir, "best_model.pth"))
        else:
            waited += 1
            if waited == patience:
                break
    plot_history(history, os.path.join(save_dir, "training_history.png"))
    return {"best_f1": float(best_f1), "total_time": time.time() - begin, "history": history}


def load_model(model, path, device):
    """Bring the best weights back."""
    model.load_state_dict(torch.load(path, map_location=device, weights_only=True))
    return model.to(device).eval()
