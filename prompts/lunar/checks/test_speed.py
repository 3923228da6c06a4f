"""The contract of the step optimisation in training.py: speed-ups that change no result."""

import ast

import numpy as np
import pytest

SIDE, HIDDEN, CLASSES = 4, 6, 3
BATCH = 7
"""Not divisible by two or three."""


@pytest.fixture(scope="session")
def task(pytestconfig):
    """Return weights of a network, and images whose class can be seen."""
    numbers = np.random.default_rng(pytestconfig.option.challenge_seed)
    labels = numbers.permutation(np.arange(2 * BATCH) % CLASSES)
    images = numbers.uniform(0, 0.3, (2 * BATCH, 3, SIDE, SIDE))
    for image, label in zip(images, labels, strict=True):
        image[:, label] += 0.7
    sizes = ((HIDDEN, 3 * SIDE * SIDE), (CLASSES, HIDDEN))
    return {
        "weights": [numbers.normal(0, 1 / np.sqrt(size[1]), size) for size in sizes],
        "images": images,
        "labels": labels.tolist(),
        "batch": BATCH,
    }


# --- mixed_precision ----------------------------------------------------------------------------


@pytest.fixture(scope="session")
def precise_and_mixed(candidate, task):
    asked = {"num_epochs": 6, "learning_rate": 0.02, "patience": 50}
    return [
        candidate.ask("probes_speed.run", arguments=asked | {"use_amp": use_amp}, **task)
        for use_amp in (False, True)
    ]


def trained(answer):
    """Return what the network noted of its calls in training."""
    calls = answer["calls"]
    assert isinstance(calls, list), "no calls of the network came back"
    found = [call for call in calls if isinstance(call, dict) and call.get("training") is True]
    assert found, "the network was never called in training mode"
    return found


@pytest.mark.requirement("mixed_precision", grade="introspected")
@pytest.mark.about("training.py", r"autocast|use_amp")
@pytest.mark.parametrize("use_amp", [False, True], ids=["off", "on"])
def test_the_forward_pass_is_mixed_only_where_asked(precise_and_mixed, evidence, use_amp):
    calls = trained(precise_and_mixed[use_amp])
    autocast = {call.get("autocast") for call in calls}
    dtypes = {str(call.get("dtype")).removeprefix("torch.") for call in calls}
    told = "on" if autocast == {True} else "off" if autocast == {False} else "on in part"
    asked = "on and bfloat16" if use_amp else "off and float32"
    evidence(
        f"use_amp={use_amp} on a CPU: autocast {told}, a linear layer gives "
        f"{' and '.join(sorted(dtypes))}; {asked} asked"
    )
    assert autocast == {use_amp}
    assert dtypes == ({"bfloat16"} if use_amp else {"float32"})


@pytest.mark.requirement("mixed_precision", grade="outcome")
@pytest.mark.about("training.py", r"autocast|backward|scaler")
def test_mixed_training_learns_with_whole_weights(precise_and_mixed, task, evidence):
    answer = precise_and_mixed[1]
    states = answer["states"]
    assert isinstance(states, np.ndarray), "no weights came back"
    losses = [cross_entropy(task, row) for row in (states[0], states[-1])]
    weights = {str(name) for call in trained(answer) for name in call.get("weights", ())}
    evidence(
        f"cross-entropy {losses[0]:.3f} to {losses[1]:.3f} in mixed precision on a CPU, "
        f"weights {' and '.join(sorted(weights))}"
    )
    assert losses[1] < 0.9 * losses[0]
    assert weights == {"torch.float32"}
    assert np.allclose(states[0], initial(task), atol=1e-6)


def initial(task):
    """Return the weights that were sent, and biases of zero, in a row."""
    layers = [(each.ravel(), np.zeros(len(each))) for each in task["weights"]]  # each out×in
    return np.concatenate([row for layer in layers for row in layer])


def cross_entropy(task, state):
    """Return the mean over all images for the weights and biases of both layers, in a row."""
    inputs = 3 * SIDE * SIDE
    sizes = (HIDDEN * inputs, HIDDEN, CLASSES * HIDDEN, CLASSES)
    first, one, second, two = np.split(state, np.cumsum(sizes)[:-1])
    flat = task["images"].reshape(-1, inputs)  # images×inputs
    hidden = np.tanh(flat @ first.reshape(HIDDEN, inputs).T + one)
    logits = hidden @ second.reshape(CLASSES, HIDDEN).T + two  # images×C
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return float(-log_p[np.arange(len(flat)), task["labels"]].mean())


@pytest.mark.requirement("mixed_precision", grade="static")
@pytest.mark.about("training.py", r"GradScaler|autocast")
def test_a_scaler_is_there_for_half_precision(code, evidence):
    """A CPU has no use for one, so that it cannot be seen at work here."""
    texts = [path.read_text("utf-8-sig") for path in sorted(code.folder.rglob("*.py"))]
    used = {name for text in texts for name in names_of(text)}
    lacking = [name for name in ("GradScaler", "scale", "step", "update") if name not in used]
    told = f"no {', '.join(lacking)} in the code" if lacking else "a gradient scaler is used"
    evidence(told)
    assert not lacking


def names_of(text):
    """Return the names that a module calls."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return set()
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {getattr(each, "attr", getattr(each, "id", "")) for each in called}


# --- large_images -------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def whole_and_parts(candidate, task):
    """Return what was seen of two steps with batches whole, in two and in three parts."""
    asked = {"num_epochs": 1, "learning_rate": 0.01}
    return [
        candidate.ask("probes_speed.run", arguments=asked | {"accumulation_steps": parts}, **task)
        for parts in (1, 2, 3)
    ]


@pytest.mark.requirement("large_images", grade="introspected")
@pytest.mark.about("training.py", r"accumulation_steps|chunk")
@pytest.mark.parametrize("parts", [2, 3])
def test_the_network_gets_parts_of_the_batch(whole_and_parts, evidence, parts):
    calls = trained(whole_and_parts[parts - 1])
    sizes = [call["size"] for call in calls if call.get("step") == 1]
    told = ", ".join(map(str, sizes))
    evidence(f"accumulation_steps={parts}: a batch of 7 is computed in parts of {told}")
    assert all(type(size) is int for size in sizes)
    assert sum(sizes) == BATCH
    assert len(sizes) == parts
    assert max(sizes) < BATCH


@pytest.mark.requirement("large_images", grade="introspected")
@pytest.mark.about("training.py", r"accumulation_steps|chunk|backward")
@pytest.mark.parametrize("parts", [2, 3])
def test_parts_leave_the_step_the_same(whole_and_parts, evidence, parts):
    whole, split = whole_and_parts[0], whole_and_parts[parts - 1]
    off = apart(split["gradients"], whole["gradients"])
    steps = len(split["states"]) - 1
    moved = apart(split["states"], whole["states"])
    evidence(
        f"accumulation_steps={parts}: {steps} steps for 2 batches, the gradient is {off:.1%} off "
        f"that of the whole batch, the weights {moved:.2%}"
    )
    assert steps == 2
    assert off < 0.001
    assert moved < 0.001


def apart(found, expected):
    """Return the largest difference in units of the largest value; 1 where shapes differ."""
    arrays = all(isinstance(each, np.ndarray) for each in (found, expected))
    if not arrays or found.shape != expected.shape or not expected.size:
        return 1.0
    return float(np.abs(found - expected).max() / np.abs(expected).max())
