"""One epoch of training."""

import torch


def precision_of(device):
    """Return the type of mixed precision."""
    return torch.float16 if device.type == "cuda" else torch.bfloat16


def train_epoch(model, loader, criterion, optimizer, scaler, device, use_amp, accumulation_steps):
    """Train one epoch."""
    model.train()
    total, count = 0.0, 0
    for images, targets in loader:
        images, targets = images.to(device), targets.to(device)
        optimizer.zero_grad()
        parts = zip(images.chunk(accumulation_steps), targets.chunk(accumulation_steps), strict=True)
        for part, wanted in parts:
            with torch.autocast(device_type=device.type, dtype=precision_of(device), enabled=use_amp):
                loss = criterion(model(part), wanted) * (len(part) / len(images))
            scaler.scale(loss).backward()
            total += loss.item() * len(images)
        scaler.step(optimizer)
        scaler.update()
        count += len(images)
    return total / count
