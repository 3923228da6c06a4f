"""The contract of the step training, continued: when it stops, and what it leaves on disk."""

import numpy as np
import pytest
from scripted import calls, column, epochs_run, script, shown, value_of

TRUTH = [0] * 20 + [1] * 4 + [2] * 4
DEFAULT = [1, 0, 1, 1, 0, 1, 0, 2, 2, "many", 1, 0, 1, 2, 1]
"""Levels of the validation scores by epoch: the best is the eighth, and seven worse ones follow."""
SHORT = [1, 0, 1, 2, 2, "many", 1]
EPOCHS = 24


def predicted(level):
    """Return predictions of which `level` quarters of every class are right.

    Of "many" the most are right, but no score per class is good: all are said to be class 0.
    """
    if level == "many":
        return [0] * len(TRUTH)
    seen, row = [0, 0, 0], []
    for truth in TRUTH:
        right = seen[truth] % 4 < level
        row.append(truth if right else (truth + 1) % 3)
        seen[truth] += 1
    return row


def series(fresh, levels):
    """Return a script in which the scores go by levels, and the validation loss always falls."""
    rows = [predicted(level) for level in levels + [1] * (EPOCHS - len(levels))]
    return script(
        fresh,
        epochs=EPOCHS,
        steps=6,
        batch=8,
        truth=TRUTH,
        validation_batch=16,
        predictions=np.array(rows),
        confidence=[6.0 * 0.75**epoch for epoch in range(EPOCHS)],
    )


@pytest.fixture(scope="session")
def default_run(candidate, fresh):
    """Return what was seen of a training whose patience is the default."""
    return candidate.ask(
        "probes_training.run",
        script=series(fresh("default run"), DEFAULT),
        arguments={"num_epochs": EPOCHS},
        checkpoints=True,
    )


@pytest.fixture(scope="session")
def short_runs(candidate, fresh):
    """Return what was seen of two trainings with patience 3, which differ only in their rate."""
    given = series(fresh("short runs"), SHORT)
    asked = {"num_epochs": EPOCHS, "patience": 3}
    return [
        candidate.ask(
            "probes_training.run",
            script=given,
            arguments=asked | {"learning_rate": rate},
            pictures=True,
        )
        for rate in (1e-3, 4e-4)
    ]


# --- early_stopping -----------------------------------------------------------------------------


def own_scores(answer):
    """Return F1 of each epoch as the code recorded it, else -1: wrong scores are not our matter."""
    found = column(answer, "f1")
    return found if len(found) == epochs_run(answer) and None not in found else None


def check_stop(answer, levels, patience, evidence):
    run, found = epochs_run(answer), own_scores(answer)
    expected = len(levels) if found is None else stop_of(found, patience)
    best = max(range(len(found)), key=found.__getitem__) + 1 if found else 0
    evidence(
        f"{run} epochs with patience {patience}, {expected or f'up to {EPOCHS}'} expected "
        f"(best F1 {shown([max(found or [0])])} in epoch {best})"
    )
    assert run == (expected or EPOCHS)


def stop_of(found, patience):
    """Return after which epoch a series has not risen above its best for so long, 0 if never."""
    best, stale = -1.0, 0
    for epoch, each in enumerate(found, 1):
        stale = 0 if each > best else stale + 1
        best = max(best, each)
        if stale == patience:
            return epoch
    return 0


@pytest.mark.requirement("early_stopping", grade="introspected")
@pytest.mark.about("training.py", r"patience")
def test_patience_is_seven_epochs_by_default(default_run, evidence):
    check_stop(default_run, DEFAULT, 7, evidence)


@pytest.mark.requirement("early_stopping", grade="introspected")
@pytest.mark.about("training.py", r"patience")
def test_another_patience_is_kept(short_runs, evidence):
    check_stop(short_runs[0], SHORT, 3, evidence)


# --- checkpoint ---------------------------------------------------------------------------------


def kept(answer):
    """Return what load_model made of the files, of those named best if there are such."""
    found = answer["checkpoints"]
    assert isinstance(found, dict), "no checkpoint came back"
    assert found, f"load_model takes none of the files in save_dir: {answer['files']}"
    return {name: each for name, each in found.items() if "best" in name.lower()} or found


def validated(answer):
    """Return what the network held when it was first validated, by epoch."""
    prints, held = answer["prints"], {}
    assert isinstance(prints, np.ndarray), "no state came back"
    for (epoch, validation, *_), row in zip(calls(answer), prints, strict=True):
        if validation:
            held.setdefault(epoch, row)
    return held


@pytest.mark.requirement("checkpoint", grade="introspected")
@pytest.mark.about("training.py", r"torch\.save|best_model|best\.pth")
def test_load_model_brings_the_best_epoch_back(default_run, evidence):
    held, found = validated(default_run), own_scores(default_run) or []
    scores = dict(enumerate(found, 1)) or {8: 1.0}
    best = [epoch for epoch, score in scores.items() if score == max(scores.values())]
    brought = {
        name: [epoch for epoch, row in held.items() if np.array_equal(row, each["print"])]
        for name, each in kept(default_run).items()
    }
    told = ", ".join(
        f"{name} holds {f'epoch {epochs[0]}' if epochs else 'a state that was never validated'}"
        for name, epochs in brought.items()
    )
    evidence(f"{told}; the best was epoch {best[0]} of {epochs_run(default_run)}")
    assert any(set(epochs) & set(best) for epochs in brought.values())


@pytest.mark.requirement("checkpoint", grade="introspected")
@pytest.mark.about("training.py", r"def load_model|\.eval\(\)")
def test_the_loaded_model_is_ready_to_predict(default_run, evidence):
    found = kept(default_run)
    ready = all(each["eval"] is True for each in found.values())
    devices = {device for each in found.values() for device in each["devices"]}
    mode = "eval" if ready else "training"
    evidence(f"load_model returns the model in {mode} mode on {', '.join(devices)}, cpu asked")
    assert ready
    assert devices == {"cpu"}


@pytest.mark.requirement("checkpoint", grade="introspected")
@pytest.mark.about("training.py", r"best_f1")
def test_the_result_tells_the_best_score(default_run, evidence):
    found, result = own_scores(default_run), default_run["result"]
    cell = result.get("best_f1") if isinstance(result, dict) else None
    assert found is not None, "the history tells no F1 of every epoch"
    evidence(f"best_f1 is {shown([value_of(cell)])}, {max(found):.3g} was the best in the history")
    assert value_of(cell) == pytest.approx(max(found), abs=1e-6)
    assert cell[0] in ("int", "float")


# --- plots --------------------------------------------------------------------------------------


@pytest.mark.requirement("plots", grade="introspected")
@pytest.mark.about("training.py", r"savefig|plot_history\(")
def test_a_picture_of_the_history_is_left_on_disk(short_runs, evidence):
    first, second = (answer["pictures"] for answer in short_runs)
    assert isinstance(first, dict), "no pictures came back"
    assert isinstance(second, dict), "no pictures came back"
    drawn = {name: told(picture) for name, picture in first.items()}
    followed = [name for name in first if differ(first[name], second.get(name))]
    evidence(
        f"in save_dir: {', '.join(f'{name} ({text})' for name, text in drawn.items()) or 'none'}; "
        f"{len(followed)} of them changed with the learning rate"
    )
    assert followed


def told(picture):
    if not isinstance(picture, np.ndarray) or picture.ndim != 3:
        return "no picture"
    colours = np.unique(picture.reshape(-1, picture.shape[-1])[::7], axis=0)
    return f"{picture.shape[1]}×{picture.shape[0]}, {len(colours)} colours"


def differ(one, other):
    """Tell whether two pictures show different things, in more than a line of text."""
    if not all(isinstance(each, np.ndarray) and each.ndim == 3 for each in (one, other)):
        return False
    return one.shape != other.shape or float((one != other).any(-1).mean()) > 1e-4


CURVES = ("train_loss", "val_loss", "accuracy", "precision", "recall", "f1", "lr")


@pytest.mark.requirement("plots", grade="introspected")
@pytest.mark.about("training.py", r"\.plot\(|def plot")
def test_every_curve_is_drawn(candidate, challenge, short_runs, evidence):
    """Lines are compared with the history; what is drawn otherwise must change the picture."""
    missing = [name for name in CURVES if not lined(short_runs[0], name)]
    if missing:
        missing = unseen(candidate, challenge, missing)
    evidence(f"{len(CURVES) - len(missing)} of 7 curves; missing: {', '.join(missing) or 'none'}")
    assert not missing


def lined(answer, name):
    """Tell whether a line that was drawn has the values of a column, or these in per cent."""
    values, drawn = column(answer, name), answer["drawn"]
    lines = [line for line in drawn if isinstance(line, list) and len(line) == len(values)]
    if None in values or not values:
        return False
    return any(
        None not in line and line == pytest.approx([value * factor for value in values])
        for line in lines
        for factor in (1, 100)
    )


def unseen(candidate, challenge, names):
    """Return the columns that may change without a change of the picture."""
    rows = [
        {"epoch": epoch} | {name: challenge.uniform(0.1, 0.9) for name in CURVES}
        for epoch in (1, 2, 3)
    ]
    changes = {name: [row[name] for row in rows][::-1] for name in names}
    answer = candidate.ask("probes_training.curves", 60, history=rows, changes=changes)
    changed = answer["changed"] if isinstance(answer["changed"], dict) else {}
    return [name for name in names if value_of(["", changed.get(name)]) in (None, 0.0)]
