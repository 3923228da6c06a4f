"""The contract of the step training: the loss, the optimiser's path, the scores and the records."""

import math

import numpy as np
import pytest
import torch
from scripted import (
    CLASSES,
    KEYS,
    column,
    epochs_run,
    records,
    script,
    shown,
    states,
    steps,
    value_of,
)

EPOCHS = 13
TRUTH = [0] * 1 + [1] * 12 + [2] * 3 + [4] * 7
"""Imbalanced; classes 3 and 5 are absent."""


@pytest.fixture(scope="session")
def explicit_run(candidate, fresh):
    """Return what was asked and what was seen of one epoch of six steps, nothing by default."""
    chance = fresh("explicit run")
    numbers = np.random.default_rng(chance.getrandbits(32))
    asked = {
        "num_epochs": 1,
        "learning_rate": round(chance.uniform(0.005, 0.02), 4),
        "weight_decay": round(chance.uniform(0.3, 0.9), 2),
        "gamma": round(chance.choice([chance.uniform(0.8, 1.6), chance.uniform(2.5, 3.6)]), 2),
    }
    given = script(
        chance,
        epochs=1,
        steps=6,
        batch=2,
        logits=numbers.normal(0, 2, (12, CLASSES)).astype(np.float32),
        labels=numbers.integers(0, CLASSES, 12).tolist(),
    )
    return asked, given, candidate.ask("probes_training.run", script=given, arguments=asked)


@pytest.fixture(scope="session")
def default_run(candidate, fresh):
    """Return the script and what was seen of 13 epochs of two steps, all but patience by default.

    Every gradient is 1 or -1, so that the steps are as long as the learning rate.
    """
    chance = fresh("default run")
    predictions = [[chance.choice([0, 1, 1, 2, 3]) for _ in TRUTH] for _ in range(EPOCHS)]
    given = script(
        chance,
        epochs=EPOCHS,
        steps=1,
        truth=TRUTH,
        predictions=np.array(predictions),
        gradients=np.array([[chance.choice([-1.0, 1.0]) for _ in range(6)]]),
    )
    asked = {"num_epochs": EPOCHS, "patience": 50}
    return given, candidate.ask("probes_training.run", script=given, arguments=asked)


# --- focal_loss ---------------------------------------------------------------------------------


def focal(logits, labels, gamma):
    """Return value and gradient of the mean of (1 - p)^gamma * -log p, in float64."""
    leaf = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    log_p = torch.log_softmax(leaf, 1)[torch.arange(len(labels)), torch.as_tensor(labels)]
    value = ((1 - log_p.exp()) ** gamma * -log_p).mean()
    value.backward()
    return value.item(), leaf.grad.numpy()


def check_gradient(answer, given, gamma, evidence):
    """Compare the gradients that came back on the logits, batch by batch, with the formula's."""
    places = range(0, len(given["labels"]), given["batch"])
    parts = [slice(place, place + given["batch"]) for place in places]
    expected = np.concatenate(
        [focal(given["logits"][part], given["labels"][part], gamma)[1] for part in parts]
    )
    found = answer["received"]
    assert isinstance(found, np.ndarray), "no gradient came back on the logits"
    assert found.shape == expected.shape, "no gradient came back on the logits of every image"
    off = float(np.abs(found - expected).max() / np.abs(expected).max())
    evidence(f"gradient on the logits is {off:.1%} off that of a focal loss with gamma {gamma:g}")
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.requirement("focal_loss", grade="outcome")
@pytest.mark.about("training.py", r"(?i)gamma")
def test_training_uses_the_gamma_that_it_was_given(explicit_run, evidence):
    asked, given, answer = explicit_run
    check_gradient(answer, given, asked["gamma"], evidence)


@pytest.mark.requirement("focal_loss", grade="outcome")
@pytest.mark.about("training.py", r"(?i)gamma")
def test_gamma_is_two_by_default(default_run, evidence):
    given, answer = default_run
    check_gradient(answer, given, 2.0, evidence)


@pytest.mark.requirement("focal_loss", grade="outcome")
@pytest.mark.about("training.py", r"(?i)train_loss|loss\.item")
def test_the_recorded_training_loss_is_the_focal_loss(explicit_run, evidence):
    asked, given, answer = explicit_run
    expected, _ = focal(given["logits"], given["labels"], asked["gamma"])
    found = (column(answer, "train_loss") or [None])[0]
    evidence(f"train_loss {shown([found])} with gamma {asked['gamma']}, {expected:.3g} expected")
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-5)


@pytest.mark.requirement("focal_loss", grade="outcome")
@pytest.mark.about("training.py", r"(?i)class .*focal|def .*focal")
@pytest.mark.parametrize("scale", [2, 15], ids=["usual", "large"])
def test_value_and_gradient_for_fresh_logits(candidate, challenge, evidence, scale):
    numbers = np.random.default_rng(challenge.getrandbits(32))
    logits, labels = numbers.normal(0, scale, (9, 4)), numbers.integers(0, 4, 9).tolist()
    logits, gammas = logits.astype(np.float32), [0.0, 2.0, round(challenge.uniform(1, 4), 2)]
    found = losses(candidate, evidence, logits, labels, gammas)
    if found is None:
        return
    expected = [focal(logits, labels, gamma) for gamma in gammas]
    asked = ", ".join(f"{gamma:g}" for gamma in gammas)
    wanted = shown([value for value, _ in expected])
    evidence(f"loss {shown(found[0].tolist())} for gamma {asked}; {wanted} expected")
    np.testing.assert_allclose(found[0], [value for value, _ in expected], 1e-3, 1e-5)
    np.testing.assert_allclose(found[1], np.stack([each for _, each in expected]), 1e-3, 1e-5)


@pytest.mark.requirement("focal_loss", grade="introspected")
@pytest.mark.about("training.py", r"(?i)class .*focal|def .*focal")
def test_huge_logits_give_finite_values(candidate, challenge, evidence):
    logits = [[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0], [challenge.uniform(1e3, 1e4), 0.0, -1e4]]
    found = losses(candidate, evidence, np.array(logits, dtype=np.float32), [0, 0, 0], [2.0])
    if found is None:
        return
    value, finite = float(found[0][0]), bool(np.isfinite(found[1]).all())
    evidence(f"loss {value:.4g}, gradient {'' if finite else 'not '}finite for logits of 10 000")
    assert math.isfinite(value)
    assert finite


def losses(candidate, evidence, logits, labels, gammas):
    """Return values and gradients of the code's own loss; None if it has none with the name."""
    answer = candidate.ask(
        "probes_training.losses", finite=False, logits=logits, labels=labels, gammas=gammas
    )
    if answer["found"] is not True:
        evidence("no name with focal in it: judged by the gradients of train_model alone")
        return None
    values, gradients = answer["values"], answer["gradients"]
    assert isinstance(values, np.ndarray), "the loss gave no number"
    assert values.shape == (len(gammas),), "the loss is no scalar"
    return values, gradients


# --- adamw --------------------------------------------------------------------------------------


@pytest.mark.requirement("adamw", grade="outcome")
@pytest.mark.about("training.py", r"AdamW|optim\.")
def test_the_weights_take_the_path_of_adamw(explicit_run, evidence):
    """The length of later steps is left free: it is the schedule's."""
    asked, given, answer = explicit_run
    path = states(answer)
    assert len(path) == 7, f"the weights changed {len(path) - 1} times in 6 batches"
    lengths, off = compared_with_adamw(path, given["gradients"], asked["weight_decay"])
    evidence(
        f"direction of the steps {off:.1%} off that of AdamW with weight decay "
        f"{asked['weight_decay']}; the first is {lengths[0]:.4g} long, lr {asked['learning_rate']}"
    )
    assert off < 0.001
    assert lengths[0] == pytest.approx(asked["learning_rate"], rel=0.005)


def compared_with_adamw(path, gradients, weight_decay):
    """Return the length of each step in units of AdamW's at lr 1, and how far off it points."""
    weights = torch.nn.Parameter(torch.tensor(path[0]))
    adamw = torch.optim.AdamW([weights], lr=1.0, weight_decay=weight_decay)
    lengths, off = [], 0.0
    for before, after, gradient in zip(path[:-1], path[1:], gradients, strict=True):
        weights.data, weights.grad = torch.tensor(before), torch.tensor(gradient)
        adamw.step()
        unit, step = before - weights.detach().numpy(), before - after
        lengths.append(float(unit @ step / (unit @ unit)))
        off = max(off, float(np.abs(step - lengths[-1] * unit).max() / np.abs(step).max()))
    return lengths, off


@pytest.mark.requirement("adamw", grade="outcome")
@pytest.mark.about("training.py", r"AdamW|optim\.")
def test_decay_shrinks_a_weight_without_gradient(explicit_run, evidence):
    asked, _, answer = explicit_run
    first, second = states(answer, "stills")[:2] if len(states(answer, "stills")) > 1 else (0, 0)
    expected = asked["learning_rate"] * asked["weight_decay"]
    shrunk = float(np.mean(1 - second / first)) if np.all(first) else 0.0
    evidence(f"a weight without gradient shrank by {shrunk:.2e} in a step, {expected:.2e} asked")
    assert shrunk == pytest.approx(expected, rel=0.005)


@pytest.mark.requirement("adamw", grade="outcome")
@pytest.mark.about("training.py", r"def train_model|AdamW|optim\.")
def test_rate_and_decay_by_default(default_run, evidence):
    given, answer = default_run
    path, still = states(answer), states(answer, "stills")
    rate = float(((path[0] - path[1]) * given["gradients"][0]).mean()) if len(path) > 1 else 0.0
    decay = float(np.mean(1 - still[1] / still[0])) / rate if len(still) > 1 and rate else 0.0
    evidence(f"lr {rate:.3g} and weight decay {decay:.3g} by default, 0.0001 and 1e-05 asked")
    assert rate == pytest.approx(1e-4, rel=0.01)
    assert decay == pytest.approx(1e-5, rel=0.01)


@pytest.mark.requirement("adamw", grade="introspected")
@pytest.mark.about("training.py", r"AdamW|optim\.|requires_grad")
def test_frozen_parameters_stay_as_they_are(explicit_run, evidence):
    _, _, answer = explicit_run
    kept = answer["frozen_kept"] is True
    evidence(f"the frozen parameter {'stayed as it was' if kept else 'changed'} in 6 steps")
    assert kept


@pytest.mark.requirement("adamw", grade="introspected")
@pytest.mark.about("training.py", r"AdamW|optim\.")
def test_the_optimiser_gets_only_what_requires_gradients(explicit_run, evidence):
    _, _, answer = explicit_run
    frozen, given = answer["held_frozen"], answer["held"]
    evidence(f"the optimiser holds {given} parameters, {frozen} of them without requires_grad")
    assert type(frozen) is int
    assert frozen == 0


# --- cosine -------------------------------------------------------------------------------------


@pytest.mark.requirement("cosine", grade="outcome")
@pytest.mark.about("training.py", r"scheduler\.step|CosineAnnealing|lr_scheduler")
def test_the_steps_of_each_epoch_follow_the_cosine(default_run, evidence):
    given, answer = default_run
    far = [sum(lengths) for lengths in steps(answer, given["gradients"][0])]
    assert len(far) == EPOCHS, f"{len(far)} epochs were trained, {EPOCHS} asked"
    assert far[0] > 0, "the first epoch changed no weight"
    found = [each / far[0] for each in far]
    expected = [(1 + math.cos(math.pi * epoch / 10)) / 2 for epoch in range(EPOCHS)]
    worst = max(range(EPOCHS), key=lambda epoch: abs(found[epoch] - expected[epoch]))
    evidence(
        f"in epoch {worst + 1} the steps are {found[worst]:.3f} times as long as in the first, "
        f"{expected[worst]:.3f} asked"
    )
    assert found == pytest.approx(expected, abs=0.005)


# --- metrics ------------------------------------------------------------------------------------


def scores(truth, predicted):
    """Return macro scores over all classes, 0 where undefined, by counting pairs."""
    pairs = list(zip(truth, predicted, strict=True))
    per_class = []
    for each in range(CLASSES):
        hit = sum(true == each == said for true, said in pairs)
        said = sum(said == each for _, said in pairs)
        there = sum(true == each for true, _ in pairs)
        both = 2 * hit / (said + there) if said + there else 0.0
        per_class.append((hit / said if said else 0.0, hit / there if there else 0.0, both))
    means = [sum(column) / CLASSES for column in zip(*per_class, strict=True)]
    right = sum(true == said for true, said in pairs) / len(pairs)
    return dict(zip(("accuracy", "precision", "recall", "f1"), [right, *means], strict=True))


@pytest.mark.requirement("metrics", grade="outcome")
@pytest.mark.parametrize("name", ["accuracy", "precision", "recall", "f1"])
@pytest.mark.about("training.py", r"(?i)precision|recall|f1")
def test_scores_of_fresh_predictions(default_run, evidence, name):
    given, answer = default_run
    expected = [scores(TRUTH, row.tolist())[name] for row in given["predictions"]]
    found = column(answer, name)
    told = f"{shown(found[:3], '{:.4f}')} in the first epochs"
    evidence(f"{name} {told}; {shown(expected[:3], '{:.4f}')} expected")
    assert len(found) == EPOCHS
    assert found == pytest.approx(expected, abs=2e-4)


@pytest.mark.requirement("metrics", grade="introspected")
@pytest.mark.about("training.py", r"\.eval\(|\.train\(")
def test_validation_is_in_eval_mode_and_training_is_not(default_run, evidence):
    _, answer = default_run
    calls = list(zip(answer["epochs"], answer["validation"], answer["training_mode"], strict=True))
    wrong = sorted({epoch for epoch, validation, training in calls if validation and training})
    begun = {epoch: training for epoch, validation, training in reversed(calls) if not validation}
    still = sorted(epoch for epoch, training in begun.items() if not training)
    evidence(
        f"validation in training mode in the epochs {wrong or 'none'}, training in eval mode in "
        f"{still or 'none'}; the network has dropout and batch statistics"
    )
    assert not wrong
    assert not still


# --- logging ------------------------------------------------------------------------------------


@pytest.mark.requirement("logging", grade="introspected")
@pytest.mark.about("training.py", r"history")
def test_the_history_has_a_whole_record_of_each_epoch(default_run, evidence):
    _, answer = default_run
    rows, numbers = records(answer), column(answer, "epoch")
    faults = [f"epoch {n}: {text}" for n, row in enumerate(rows, 1) for text in odd(row)]
    if numbers != list(range(1, len(rows) + 1)):
        faults.append(f"epochs are numbered {shown(numbers[:3])}, 1, 2, 3 asked")
    told = "; ".join(faults[:2]) or "all whole"
    evidence(f"{len(rows)} records of {epochs_run(answer)} epochs; {told}")
    assert len(rows) == epochs_run(answer)
    assert not faults


def odd(row):
    """Return what is wrong with a record."""
    wrong = [f"no {name}" for name in KEYS if name not in row]
    for name in KEYS:
        cell = row.get(name)
        kind = cell[0] if isinstance(cell, list) and cell else None
        good = ("int",) if name == "epoch" else ("int", "float")
        if name in row and (kind not in good or value_of(cell) is None):
            wrong.append(f"{name} is no finite number of Python, but {kind}")
    return wrong


@pytest.mark.requirement("logging", grade="outcome")
@pytest.mark.about("training.py", r"[\"']lr[\"']|get_last_lr|param_groups")
def test_the_recorded_rate_is_the_one_of_the_epoch(default_run, evidence):
    given, answer = default_run
    used, found = steps(answer, given["gradients"][0]), column(answer, "lr")
    first = [lengths[0] if lengths else 0.0 for lengths in used]
    evidence(f"lr {shown(found[:3])} recorded, steps of {shown(first[:3])} taken")
    assert len(found) == len(used)
    for rate, lengths in zip(found, used, strict=True):
        assert any(rate == pytest.approx(length, rel=0.01, abs=1e-7) for length in lengths)


@pytest.mark.requirement("logging", grade="introspected")
@pytest.mark.about("training.py", r"log\w*\.(info|debug|warning|log)|print\(")
def test_each_epoch_is_logged(default_run, evidence):
    _, answer = default_run
    lines = answer["lines"] if isinstance(answer["lines"], list) else []
    logged = {line[0] for line in lines if isinstance(line, list)}
    silent = [epoch for epoch in range(1, epochs_run(answer) + 1) if epoch not in logged]
    texts = {str(line[-1]) for line in lines if isinstance(line, list)}
    evidence(
        f"{len(lines)} log lines in {EPOCHS} epochs, {len(texts)} different ones; "
        f"{len(silent)} epochs without one"
    )
    assert not silent
    assert len(texts) >= EPOCHS, "the lines do not tell one epoch from another"


@pytest.mark.requirement("logging", grade="introspected")
@pytest.mark.about("training.py", r"total_time")
def test_the_result_tells_the_time(default_run, evidence):
    _, answer = default_run
    result = answer["result"] if isinstance(answer["result"], dict) else {}
    cell = result.get("total_time")
    evidence(f"total_time is {shown([value_of(cell)])} s, a {cell[0] if cell else 'missing value'}")
    assert value_of(cell) is not None
    assert 0 <= value_of(cell) < 60
    assert cell[0] in ("int", "float")
