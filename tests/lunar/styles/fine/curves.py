"""Curves of a training."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

SHOWN = (("train_loss", "val_loss"), ("accuracy",), ("precision", "recall"), ("f1",), ("lr",))


def plot_history(history, path):
    """Draw the history."""
    figure, axes = plt.subplots(1, 5, figsize=(20, 4))
    epochs = [row["epoch"] for row in history]
    for axis, keys in zip(axes, SHOWN, strict=True):
        for key in keys:
            axis.plot(epochs, [row[key] for row in history], label=key)
        axis.legend()
    figure.savefig(path)
    plt.close(figure)
