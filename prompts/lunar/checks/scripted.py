"""Scripts for the network of probes_training.py, and readers of what it saw."""

from itertools import pairwise

import numpy as np

CLASSES = 6
KEYS = ("epoch", "train_loss", "val_loss", "accuracy", "precision", "recall", "f1", "lr")


def script(fresh, *, epochs, steps, **changes):
    """Return tables for the network, fresh ones where none are given.

    Args:
        fresh: a `random.Random`.
        epochs: rows of the validation predictions.
        steps: rows of the gradients.
        changes: entries to put in place of the fresh ones.
    """
    numbers = np.random.default_rng(fresh.getrandbits(32))
    return {
        "logits": numbers.normal(0, 2, (8, CLASSES)).astype(np.float32),  # images×C
        "labels": numbers.integers(0, CLASSES, 8).tolist(),
        "batch": 4,
        "truth": numbers.integers(0, CLASSES, 10).tolist(),
        "validation_batch": 4,
        "predictions": numbers.integers(0, CLASSES, (epochs, 10)),
        "confidence": [2.0] * epochs,
        # Small, so that clipping by norm would change nothing; not near 0, where eps counts.
        "gradients": numbers.uniform(0.02, 0.1, (steps, 6)) * numbers.choice([-1, 1], (steps, 6)),
    } | changes


def records(answer):
    """Return the records of the history, each a mapping of name to [type, number]."""
    result = answer["result"]
    history = result.get("history") if isinstance(result, dict) else None
    rows = history if isinstance(history, list) else []
    return [row if isinstance(row, dict) else {} for row in rows]


def column(answer, name):
    """Return one column of the history, None where there is no number."""
    cells = [row.get(name) for row in records(answer)]
    return [value_of(cell) for cell in cells]


def value_of(cell):
    """Return the number of a [type, number], None if there is none."""
    good = isinstance(cell, list) and len(cell) == 2 and type(cell[1]) in (int, float)
    return float(cell[1]) if good else None


def calls(answer):
    """Return (epoch, validation, batch size, weights) of each call of the network, in order."""
    names = ("epochs", "validation", "sizes", "weights")
    lists = [answer[name] for name in names]
    assert isinstance(lists[3], np.ndarray), "no weights came back"
    return list(zip(*lists, strict=True))


def epochs_run(answer):
    """Return how many epochs the network was trained."""
    return max((call[0] for call in calls(answer)), default=0)


def states(answer, name="weights"):
    """Return the distinct states that parameters were seen in, in order (states×parameters)."""
    rows = answer[name]
    assert isinstance(rows, np.ndarray), "no parameters came back"
    changed = np.any(rows[1:] != rows[:-1], axis=1)
    return rows[np.concatenate([[True], changed])]


def steps(answer, gradient):
    """Return how far the weights moved with each batch, on average over them, by epoch.

    Args:
        answer: of the probe `run`.
        gradient: of every step, ones of either sign. A move the other way counts nothing: who has
            not seen the gradient does not know the way.
    """
    far = []
    for epoch in range(1, epochs_run(answer) + 1):
        own = [call for call in calls(answer) if call[0] == epoch]
        last = next((place for place, call in enumerate(own) if call[1]), len(own) - 1)
        seen = [call[3] for call in own[: last + 1]]
        moves = [(before - after) * gradient for before, after in pairwise(seen)]
        far.append([float(move.mean()) if np.all(move >= 0) else 0.0 for move in moves])
    return far


def shown(values, form="{:.3g}"):
    """Return numbers as a reader wants them."""
    return ", ".join("missing" if value is None else form.format(value) for value in values)
