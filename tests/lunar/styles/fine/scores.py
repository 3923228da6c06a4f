"""Metrics."""


def compute_metrics(targets, predictions, num_classes):
    """Return accuracy and macro means."""
    rows = []
    for c in range(num_classes):
        tp = ((targets == c) & (predictions == c)).sum().item()
        fp = ((targets != c) & (predictions == c)).sum().item()
        fn = ((targets == c) & (predictions != c)).sum().item()
        rows.append([
            tp / (tp + fp) if tp + fp else 0.0,
            tp / (tp + fn) if tp + fn else 0.0,
            2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0,
        ])
    precision, recall, f1 = (sum(column) / num_classes for column in zip(*rows, strict=True))
    accuracy = (targets == predictions).float().mean().item()
    return {"accuracy": accuracy, "precision": precision, "recall": recall, "f1": f1}
