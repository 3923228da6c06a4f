"""One look at all of the validation."""

import torch


def precision_of(device):
    """Return the type of mixed precision."""
    return torch.float16 if device.type == "cuda" else torch.bfloat16


def evaluate(model, loader, criterion, device, use_amp):
    """Judge a model."""
    model.eval()
    total, targets, predictions = 0.0, [], []
    with torch.no_grad():
        for images, wanted in loader:
            images, wanted = images.to(device), wanted.to(device)
            with torch.autocast(device_type=device.type, dtype=precision_of(device), enabled=use_amp):
                logits = model(images)
                loss = criterion(logits, wanted)
            total += loss.item() * len(images)
            targets.append(wanted.cpu())
            predictions.append(logits.argmax(dim=1).cpu())
    targets = torch.cat(targets)
    return total / len(targets), targets, torch.cat(predictions), logits.shape[1]
