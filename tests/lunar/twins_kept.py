"""Wrong trainers, continued: when they stop, what they tell and what they leave on disk."""

from tests.lunar.twins import Twin

EARLY_STOPPING = [
    Twin(
        "early_stopping",
        "an equal F1 counts as better",
        "training.py",
        "self.stale += 1",
        'self.stale += record["f1"] < self.best_f1',
    ),
    Twin(
        "early_stopping",
        "one epoch late",
        "training.py",
        "state.stale >= patience",
        "state.stale > patience",
    ),
    Twin(
        "early_stopping",
        "five epochs by default",
        "training.py",
        "patience: int = 7",
        "patience: int = 5",
    ),
    Twin(
        "early_stopping",
        "always seven epochs",
        "training.py",
        "state.stale >= patience",
        "state.stale >= 7",
    ),
    Twin("early_stopping", "never", "training.py", "state.stale >= patience", "state.stale < 0"),
    Twin(
        "early_stopping",
        "counts all worse epochs",
        "training.py",
        "self.confusion, self.stale = confusion, 0",
        "self.confusion = confusion",
    ),
    Twin(
        "early_stopping",
        "watches the accuracy",
        "training.py",
        "            self.stale += 1",
        '            best = max(each["accuracy"] for each in self.history[:-1])\n'
        '            self.stale = 0 if record["accuracy"] > best else self.stale + 1',
    ),
    Twin(
        "early_stopping",
        "watches the loss",
        "training.py",
        "            self.stale += 1",
        '            best = min(each["val_loss"] for each in self.history[:-1])\n'
        '            self.stale = 0 if record["val_loss"] < best else self.stale + 1',
    ),
]
LOGGING = [
    Twin("logging", "no line", "training.py", '        log.info("%s", record)\n', ""),
    Twin(
        "logging",
        "a line for every other epoch",
        "training.py",
        '        log.info("%s", record)',
        '        log.log(20 if epoch % 2 else 0, "%s", record)',
    ),
    Twin(
        "logging",
        "always the same line",
        "training.py",
        'log.info("%s", record)',
        'log.info("an epoch is over")',
    ),
    Twin("logging", "epochs from 0", "training.py", '"epoch": epoch + 1,', '"epoch": epoch,'),
    Twin(
        "logging",
        "no validation loss",
        "training.py",
        '"history": self.history,',
        '"history": [each | {"val_loss": None} for each in self.history],',
    ),
    Twin(
        "logging",
        "tensors in the history",
        "training.py",
        '"train_loss": train_loss,',
        '"train_loss": torch.tensor(train_loss),',
    ),
    Twin(
        "logging",
        "strings in the history",
        "training.py",
        '"history": self.history,',
        '"history": [each | {"val_loss": str(each["val_loss"])} for each in self.history],',
    ),
    Twin(
        "logging",
        "the rate of the next epoch",
        "training.py",
        "scores_of(confusion), rate)",
        'scores_of(confusion), engine.optimizer.param_groups[0]["lr"])',
    ),
]
PLOTS = [
    Twin(
        "plots",
        "no curves in it",
        "plots.py",
        'axes.plot(epochs, [record[key] for record in history], marker="o", label=label)',
        "pass",
    ),
    Twin(
        "plots",
        "no picture of the history",
        "training.py",
        'plot_history(state.history, folder / "history.png")',
        "pass",
    ),
    Twin(
        "plots",
        "no learning rate",
        "plots.py",
        '    ("learning rate", {"lr": "learning rate"}),\n',
        "",
    ),
    Twin("plots", "no recall", "plots.py", ', "recall": "recall"}', "}"),
    Twin(
        "plots",
        "accuracy in place of F1",
        "plots.py",
        '{"f1": "macro F1"}',
        '{"accuracy": "macro F1"}',
    ),
    Twin(
        "plots",
        "an empty file",
        "plots.py",
        '    figure.savefig(path, format="png")',
        "    Path(path).touch()",
    ),
]
CHECKPOINT = [
    Twin(
        "checkpoint",
        "the last model",
        "training.py",
        "    if better:\n        best",
        "    if True:\n        best",
    ),
    Twin(
        "checkpoint",
        "the first model",
        "training.py",
        "    if better:\n        best",
        "    if len(state.history) == 1:\n        best",
    ),
    Twin(
        "checkpoint",
        "the most accurate model",
        "training.py",
        "    if better:\n        best",
        '    accuracies = [record["accuracy"] for record in state.history]\n'
        "    if accuracies[-1] >= max(accuracies):\n        best",
    ),
    Twin(
        "checkpoint",
        "half a precision lost",
        "training.py",
        '"model": engine.judged.state_dict(),',
        '"model": {name: each.half() for name, each in engine.judged.state_dict().items()},',
    ),
    Twin(
        "checkpoint",
        "loaded in training mode",
        "checkpoints.py",
        "model.to(device).eval()",
        "model.to(device)",
    ),
    Twin(
        "checkpoint",
        "the last F1 as the best",
        "training.py",
        '"best_f1": self.best_f1,',
        '"best_f1": self.history[-1]["f1"],',
    ),
]
TWINS = [*EARLY_STOPPING, *LOGGING, *PLOTS, *CHECKPOINT]
