"""The components of lunar-fine.yaml, each by itself; the whole is judged by the other files."""

from __future__ import annotations

import numpy as np
import pytest

IMAGE = (2, 3, 24, 20)
CLASSES = ["crater", "mare", "rima", "mons", "vallis", "dorsum"]
SUFFIXES = ("png", "jpg", "JPEG", "tif", "Tiff", "bmp", "webp")


def numbers_of(chance):
    """Return numpy's generator for a `random.Random`."""
    return np.random.default_rng(chance.getrandbits(64))


@pytest.fixture
def numbers(challenge):
    return numbers_of(challenge)


@pytest.fixture
def images(numbers):
    return numbers.uniform(0.1, 0.9, IMAGE).astype(np.float32)


@pytest.mark.requirement("image_paths", grade="outcome")
@pytest.mark.about("paths.py", r"def get_image_paths")
def test_all_image_files_are_found_in_order(candidate, challenge, evidence):
    names = [
        f"{c}/{challenge.randrange(100)}x{n}.{s}" for c in "ba" for n, s in enumerate(SUFFIXES)
    ]
    answer = candidate.ask("probes_parts.paths", names=[*names, "a/notes.txt", "b/x.json"])
    lost, extra = sorted({*names} - {*answer["paths"]}), sorted({*answer["paths"]} - {*names})
    evidence(f"{len(names)} images: not found {lost or 'none'}, found besides {extra or 'none'}, "
             f"{'sorted' if answer['paths'] == sorted(answer['paths']) else 'not sorted'}, "
             f"as a {answer['kind']}")  # fmt: skip
    assert answer["paths"] == sorted(names)
    assert answer["kind"] == "list"


@pytest.mark.requirement("labels", grade="outcome")
@pytest.mark.about("paths.py", r"def get_labels")
def test_labels_are_numbers_of_folders_in_order(candidate, challenge, evidence):
    folders = sorted(challenge.sample(CLASSES, 4), reverse=True)
    dealt = [*folders, *challenge.choices(folders, k=8)]
    names = [f"x/{folder}/{n}.png" for n, folder in enumerate(dealt)]
    expected = [sorted(folders).index(name.split("/")[1]) for name in names]
    answer = candidate.ask("probes_parts.labels", names=names)
    evidence(f"labels {answer['labels'][:8]} for the folders {dealt[:8]}; {expected[:8]} expected")
    assert answer["labels"] == expected


@pytest.mark.requirement("split", grade="outcome")
@pytest.mark.about("split.py", r"def split_files")
def test_files_are_split_with_their_labels(candidate, challenge, evidence):
    count = challenge.randrange(20, 60)
    names = [f"x/{challenge.choice(CLASSES)}/{n}.png" for n in range(count)]
    labels = [challenge.randrange(5) for _ in names]
    answer = candidate.ask("probes_parts.split", paths=names, labels=labels, share=0.3)
    train, train_labels, val, val_labels = answer["lists"]
    known = dict(zip(names, labels, strict=True))
    right = [known.get(path) for path in train + val] == train_labels + val_labels
    evidence(f"{count} files: {len(train)} for training, {len(val)} for validation, "
             f"{int(count * 0.3)} asked; labels {'stay with' if right else 'leave'} "
             f"their files")  # fmt: skip
    assert sorted(train + val) == sorted(names)
    assert len(val) == int(count * 0.3)
    assert right
    assert answer["lists"] == answer["again"]
    assert train + val != names


@pytest.mark.requirement("options", grade="outcome")
@pytest.mark.about("options.py", r"def loader_options")
@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("workers", [0, 3])
def test_options_of_loaders_follow_workers_and_gpu(candidate, challenge, evidence, workers, gpu):
    batch = challenge.randrange(2, 30)
    answer = candidate.ask("probes_parts.options", batch=batch, workers=workers, gpu=gpu)
    expected = {"batch_size": batch, "num_workers": workers, "pin_memory": gpu}
    if workers:
        expected |= {"prefetch_factor": 2, "persistent_workers": True}
    evidence(f"{answer['options']} for {workers} workers where torch.cuda.is_available() is {gpu}, "
             f"{expected} expected")  # fmt: skip
    assert answer["options"] == expected


@pytest.mark.requirement("load_image", grade="outcome")
@pytest.mark.about("images.py", r"def load_image")
def test_files_of_every_kind_come_as_gray_values(candidate, challenge, evidence):
    gray = challenge.randrange(60, 200)
    pixels = np.full((10, 14), gray, np.uint8)
    pixels[:5] = gray // 2
    answer = candidate.ask("probes_parts.loaded", pixels=pixels)
    wrong = {}
    for name, tensor in answer.items():
        assert isinstance(tensor, np.ndarray), f"{name}: no tensor"
        if tensor.shape != (3, 10, 14):
            wrong[name] = f"shape {tensor.shape}"
        elif tensor.dtype != np.float32:
            wrong[name] = f"dtype {tensor.dtype}"
        elif abs(tensor - pixels / 255).max() > 0.02:
            wrong[name] = f"values up to {tensor.max():.3g}, {gray / 255:.3f} expected"
    told = "; ".join(f"{name}: {text}" for name, text in wrong.items()) or "all right"
    evidence(f"{len(answer)} kinds of files of 10×14 pixels: {told}")
    assert answer
    assert not wrong


def blurred(image):
    """Return the blur of torchvision for a kernel of 5: sigma 1.1, edges reflected."""
    sigma = 0.3 * ((5 - 1) * 0.5 - 1) + 0.8
    kernel = np.exp(-0.5 * (np.arange(-2, 3) / sigma) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(image, ((0, 0), (2, 2), (2, 2)), mode="reflect")
    rows = sum(k * padded[:, n : n + image.shape[1]] for n, k in enumerate(kernel))
    return sum(k * rows[:, :, n : n + image.shape[2]] for n, k in enumerate(kernel))


def filtered(candidate, images, function):
    answer = candidate.ask(
        "probes_parts.applied", module="filters", function=function, images=images
    )
    assert answer["views"].shape == images.shape, f"shape {answer['views'].shape}"
    return answer["views"]


@pytest.mark.requirement("filter", grade="outcome")
@pytest.mark.about("filters.py", r"def high_pass")
def test_high_pass_is_the_image_minus_its_blur(candidate, images, evidence):
    views = filtered(candidate, images, "high_pass")
    expected = np.stack([image - blurred(image) for image in images])
    off = abs(views - expected).max()
    evidence(f"high_pass is {off:.4f} off image minus blur; it goes from {views.min():.2f} to "
             f"{views.max():.2f}; {expected.min():.2f} to {expected.max():.2f} asked")  # fmt: skip
    assert off < 1e-3


@pytest.mark.requirement("sharpen", grade="outcome")
@pytest.mark.about("filters.py", r"def sharpen")
def test_sharpen_adds_the_high_pass_and_clamps(candidate, images, evidence):
    views = filtered(candidate, images, "sharpen")
    expected = np.clip([2 * image - blurred(image) for image in images], 0, 1)
    off = abs(views - expected).max()
    evidence(f"sharpen is {off:.4f} off image plus high-pass; values {views.min():.2f} to "
             f"{views.max():.2f}")  # fmt: skip
    assert off < 1e-3


def ramp(side=65):
    """Return an image that is brighter to the right, 3×side×side."""
    return np.tile(np.linspace(0.3, 0.5, side, dtype=np.float32), (3, side, 1))


@pytest.mark.requirement("augment", grade="introspected")
@pytest.mark.about("augment.py", r"^AUGMENT|def augment")
def test_augmentation_turns_mirrors_and_changes_the_light(candidate, evidence):
    side, times = 65, 80
    image = ramp(side)
    answer = candidate.ask(
        "probes_parts.applied", module="augment", function="augment", images=image[None],
        times=times, time_s=90,
    )  # fmt: skip
    views = answer["views"][:, 0]
    assert views.shape == (times, side, side), f"shape {answer['views'].shape}"
    middle = slice(side // 2 - 14, side // 2 + 15)
    core = views[:, middle, middle].astype(float)
    across, down = np.gradient(core, axis=2).mean((1, 2)), np.gradient(core, axis=1).mean((1, 2))
    mirrored = across < 0
    angles = np.degrees(np.arctan2(down, np.abs(across)))
    light = core.mean((1, 2)) / 0.4
    evidence(f"{times} views: turned by {angles.min():.0f}° to {angles.max():.0f}°, "
             f"{mirrored.mean():.0%} mirrored left to right, brightness {light.min():.2f} to "
             f"{light.max():.2f}")  # fmt: skip
    assert -16 < angles.min() < -11
    assert 11 < angles.max() < 16
    assert 0.25 < mirrored.mean() < 0.75
    assert 0.75 < light.min() < 0.95
    assert 1.05 < light.max() < 1.25
    assert views.min() >= 0
    assert views.max() <= 1


@pytest.mark.requirement("augment", grade="introspected")
@pytest.mark.about("augment.py", r"^AUGMENT|def augment")
def test_augmentation_mirrors_top_to_bottom_too(candidate, evidence):
    image = np.swapaxes(ramp(), 1, 2).copy()
    answer = candidate.ask(
        "probes_parts.applied", module="augment", function="augment", images=image[None], times=60
    )
    core = answer["views"][:, 0, 18:47, 18:47].astype(float)
    share = (np.gradient(core, axis=1).mean((1, 2)) < 0).mean()
    evidence(f"{share:.0%} of 60 views mirrored top to bottom; half is asked for")
    assert 0.2 < share < 0.8


@pytest.mark.requirement("add_noise", grade="outcome")
@pytest.mark.about("augment.py", r"def add_noise")
def test_noise_has_the_sigma_and_is_clamped(candidate, challenge, evidence):
    level = challenge.uniform(0.3, 0.7)
    flat = np.full((1, 3, 100, 100), level, np.float32)
    flat[0, :, 0], flat[0, :, 1] = 0.0, 1.0
    answer = candidate.ask(
        "probes_parts.applied", module="augment", function="add_noise", images=flat, times=2
    )
    views = answer["views"]
    sigma = (views[:, :, 2:] - level).std()
    evidence(
        f"sigma {sigma:.4f}, 0.01 asked; values from {views.min():.3f} to {views.max():.3f}, "
        "0 to 1 asked"
    )
    assert sigma == pytest.approx(0.01, rel=0.05)
    assert abs(views[:, :, 2:].mean() - level) < 0.001
    assert views.min() >= 0
    assert views.max() <= 1
    assert not np.array_equal(views[0], views[1]), "the noise is the same each time"


@pytest.mark.requirement("dataset", grade="outcome")
@pytest.mark.about("dataset.py", r"def __getitem__")
@pytest.mark.parametrize("train", [False, True], ids=["plain", "train"])
def test_the_dataset_reads_sizes_and_augments(candidate, challenge, evidence, train):
    size = challenge.choice(range(32, 50, 2))
    pixels = np.tile(np.repeat([80, 150], 40).astype(np.uint8), (60, 1))  # an edge
    answer = candidate.ask("probes_parts.dataset", pixels=pixels, size=size, train=train, times=6)
    views = answer["views"]
    assert views.shape == (6, 3, size, size), f"shape {views.shape}; 6×3×{size}×{size} expected"
    gap = float(abs(views - views[0]).max())
    rough = float(abs(np.diff(views[:, 0, 8:-8, 8:-8], n=2, axis=1)).mean())
    evidence(f"train={train}: items differ by {gap:.3f}, roughness {rough:.4f}; label "
             f"{answer['labels'][0]}, 3 expected")  # fmt: skip
    assert answer["labels"] == [3] * 6
    assert answer["length"] == 1
    assert views.dtype == np.float32
    assert views.min() >= 0
    assert views.max() <= 1
    if train:
        assert gap > 0.05
        assert rough > 0.005
    else:
        assert gap == 0
        assert rough < 0.002
        assert abs(views[0, 0].mean() - pixels.mean() / 255) < 0.02
        assert views.max() > 150 / 255 + 0.01, "the edge is not sharpened"


@pytest.mark.requirement("pyramid", grade="introspected")
@pytest.mark.about("pyramid.py", r"class ASPP")
def test_the_pyramid_hears_an_impulse_at_its_rates(candidate, challenge, evidence):
    side, channels = 49, challenge.choice([2, 3])
    impulse = np.zeros((1, channels, side, side), np.float32)
    impulse[0, :, side // 2, side // 2] = 10
    answer = candidate.ask("probes_parts.pyramid", impulse=impulse)
    change = answer["change"]
    assert change.shape == (side, side), f"the map changes its size to {change.shape}"
    row = change[side // 2, side // 2 :]
    heard = [int(n) for n in np.flatnonzero(row > row.max() * 1e-3)]
    evidence(f"an impulse is heard at the distances {heard}; 0, 6, 12, 18 asked; 2×6×9×7 becomes "
             f"{'×'.join(map(str, answer['shape']))}")  # fmt: skip
    assert heard == [0, 6, 12, 18]
    assert answer["shape"] == [2, 5, 9, 7]
    assert "BatchNorm2d" in answer["kinds"]


@pytest.mark.requirement("gate", grade="introspected")
@pytest.mark.about("gate.py", r"class SkipAttention")
def test_the_gate_is_a_learned_mask(candidate, images, evidence):
    answer = candidate.ask("probes_parts.gate", images=images)
    first, second = answer["first"], answer["second"]
    assert first.shape == images.shape, f"shape {first.shape}"
    mask = first / images
    learned = not np.allclose(first, second)
    evidence(f"output over input is {mask.min():.2f} to {mask.max():.2f}; 0 to 1 asked; it "
             f"{'follows' if learned else 'does not follow'} the weights")  # fmt: skip
    assert mask.min() > 0
    assert mask.max() < 1
    assert mask.std() > 1e-4
    assert learned
    assert "BatchNorm2d" in answer["kinds"]


@pytest.mark.requirement("block", grade="outcome")
@pytest.mark.about("block.py", r"class TransformerBlock")
def test_the_block_attends_adds_and_drops(candidate, numbers, evidence):
    tokens = numbers.normal(size=(2, 5, 16)).astype(np.float32)
    order = [int(n) for n in numbers.permutation(5)]
    answer = candidate.ask("probes_parts.block", tokens=tokens, order=order, dropout=0.4)
    plain = answer["plain"]
    assert plain.shape == tokens.shape, f"shape {plain.shape}"
    others = abs(answer["mixed"] - plain)[:, :-1].max()
    off = abs(answer["silent"] - tokens).max()
    added = "" if off < 1e-6 else ": attention and MLP must each be added to x, not take its place"
    evidence(f"a change of one token moves the others by {others:.3f}; with all weights 0 the "
             f"output is {off:.3f} off x{added}; dropout in training "
             f"{'off' if answer['same'] else 'on'}")  # fmt: skip
    assert others > 1e-3
    assert np.allclose(answer["turned"], plain[:, order], atol=1e-4)
    assert np.allclose(answer["silent"], tokens, atol=1e-6)
    assert not answer["same"]
    assert answer["kinds"].count("LayerNorm") == 2


@pytest.fixture(scope="session")
def trunk(candidate, fresh):
    image = numbers_of(fresh("trunk")).normal(size=(2, 3, 64, 64)).astype(np.float32)
    return candidate.ask("probes_parts.trunk", image=image)


@pytest.mark.requirement("trunk", grade="introspected")
@pytest.mark.about("trunk.py", r"def make_trunk")
def test_the_first_layers_are_frozen_and_no_others(trunk, evidence):
    frozen = sorted(name for name, state in trunk["frozen"].items() if state)
    evidence(f"frozen: {', '.join(frozen) or 'nothing'}; fc {'is' if trunk['fc'] else 'not'} there")
    assert frozen == ["bn1", "conv1", "layer1", "layer2"]
    assert {"layer3", "layer4"} <= {*trunk["frozen"]}
    assert not trunk["fc"]


@pytest.mark.requirement("keep_frozen", grade="introspected")
@pytest.mark.about("trunk.py", r"def keep_frozen")
def test_statistics_of_frozen_layers_stay(trunk, evidence):
    moved = ", ".join(trunk["moved"]) or "none"
    evidence(
        f"after keep_frozen, a pass in train mode moves the statistics of {moved}; of layer3 and "
        "layer4, and of no others, asked"
    )
    assert trunk["moved"] == ["layer3", "layer4"]


@pytest.mark.requirement("features", grade="introspected")
@pytest.mark.about("trunk.py", r"def features")
def test_features_are_those_of_both_layers(candidate, numbers, evidence):
    image = numbers.normal(size=(2, 3, 64, 64)).astype(np.float32)
    answer = candidate.ask("probes_parts.features", image=image)
    shapes = [tuple(shape) for shape in answer["shapes"]]
    asked = [(2, 512, 8, 8), (2, 2048, 4, 4)]
    evidence(f"shapes {shapes[0]} and {shapes[1]}, {asked[0]} and {asked[1]} asked: of layer2 and "
             f"of layer4; {answer['gap']:.4f} off these")  # fmt: skip
    assert shapes == asked
    assert answer["gap"] < 1e-4


@pytest.mark.requirement("weights", grade="introspected")
@pytest.mark.about("weights.py", r"def init_weights")
def test_weights_are_those_of_he(candidate, evidence):
    answer = candidate.ask("probes_parts.weights")
    shown = ", ".join(f"{ratio:.2f}" for ratio in answer["ratios"])
    evidence(f"sigma over √(2/fan_in): {shown} (1 asked); largest bias {max(answer['biases']):.3f}")
    assert all(abs(ratio - 1) < 0.05 for ratio in answer["ratios"])
    assert answer["biases"] == [0, 0]
    assert answer["norm"] == 1


@pytest.mark.requirement("simple", grade="outcome")
@pytest.mark.about("simple.py", r"class SimpleModel")
def test_the_simple_model_takes_any_size(candidate, challenge, evidence):
    classes = challenge.randrange(3, 9)
    answer = candidate.ask("probes_parts.simple", classes=classes, sizes=[32, 48])
    evidence(f"shapes {answer['shapes']} for {classes} classes; dropout {answer['dropout']}")
    assert answer["shapes"] == [[2, classes]] * 2
    assert answer["dropout"] == [0.3]
    assert answer["kinds"].count("BatchNorm2d") == 3


def focal(logits, targets, gamma):
    """Return the focal loss and its gradient by finite differences."""
    shifted = logits - logits.max(1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    chosen = log_p[np.arange(len(targets)), targets]
    return float(np.mean((1 - np.exp(chosen)) ** gamma * -chosen))


@pytest.mark.requirement("loss", grade="outcome")
@pytest.mark.about("loss.py", r"class FocalLoss")
def test_the_loss_is_the_focal_loss(candidate, numbers, evidence):
    logits = numbers.normal(0, 2, (6, 4))
    targets = [int(t) for t in numbers.integers(0, 4, 6)]
    gammas = [0.0, float(numbers.uniform(0.5, 3))]
    answer = candidate.ask("probes_parts.loss", logits=logits, targets=targets, gammas=gammas)
    expected = [focal(logits, targets, gamma) for gamma in gammas]
    evidence(f"gamma {gammas[1]:.2f}: {answer['values'][1]:.4f}, {expected[1]:.4f} expected; "
             f"gamma 0: {answer['values'][0]:.4f}, {expected[0]:.4f} expected")  # fmt: skip
    assert answer["values"] == pytest.approx(expected, rel=1e-4)
    assert answer["default"] == pytest.approx(focal(logits, targets, 2.0), rel=1e-4)
    step = np.zeros_like(logits)
    step[2, 1] = 1e-4
    slope = (
        focal(logits + step, targets, gammas[1]) - focal(logits - step, targets, gammas[1])
    ) / 2e-4
    assert answer["gradients"][1, 2, 1] == pytest.approx(slope, rel=1e-2, abs=1e-5)


@pytest.mark.requirement("scores", grade="outcome")
@pytest.mark.about("scores.py", r"def compute_metrics")
def test_scores_are_macro_means(candidate, numbers, evidence):
    classes = 5
    targets, predictions = (numbers.integers(0, 4, 40) for _ in range(2))  # the fifth never comes
    answer = candidate.ask(
        "probes_parts.scores", targets=targets.tolist(), predictions=predictions.tolist(),
        classes=classes,
    )  # fmt: skip
    rows = []
    for c in range(classes):
        tp = ((targets == c) & (predictions == c)).sum()
        said, true = (predictions == c).sum(), (targets == c).sum()
        rows.append([tp / max(said, 1), tp / max(true, 1), 2 * tp / max(said + true, 1)])
    precision, recall, f1 = np.mean(rows, axis=0)
    expected = {"accuracy": float((targets == predictions).mean()), "precision": precision,
                "recall": recall, "f1": f1}  # fmt: skip
    found = answer["values"]
    told = ", ".join(f"{name} {found[name]:.3f} ({value:.3f} expected)" if name in found
                     else f"{name} is missing" for name, value in expected.items())  # fmt: skip
    keys = ", ".join(f"{key} ({kind})" for key, kind in answer["kinds"].items())
    evidence(f"{told}; the dict holds {keys or 'nothing'}")
    assert answer["kinds"] == dict.fromkeys(expected, "float")
    assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.requirement("curves", grade="introspected")
@pytest.mark.about("curves.py", r"def plot_history")
def test_curves_show_everything(candidate, numbers, evidence):
    keys = ("train_loss", "val_loss", "accuracy", "precision", "recall", "f1", "lr")
    history = [{"epoch": n, **{key: float(numbers.uniform(0.2, 0.8)) for key in keys}}
               for n in range(1, 6)]  # fmt: skip
    others = [[{**row, key: row[key] * (0.5 if row["epoch"] == 3 else 1)} for row in history]
              for key in keys]  # fmt: skip
    answer = candidate.ask("probes_parts.curves", history=history, others=others, time_s=90)
    blind = [key for key, same in zip(keys, answer["same"], strict=True) if same]
    evidence(f"a picture of {answer['size'][1]}×{answer['size'][0]} with {answer['colours']} "
             f"colours; not seen in it: {', '.join(blind) or 'nothing'}")  # fmt: skip
    assert not blind
    assert answer["colours"] > 20


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def cross_entropy(weight, x, y):
    return float(-np.log(softmax(x @ weight.T)[np.arange(len(y)), y]).mean())


@pytest.fixture
def lesson(numbers):
    """Return a weight C×D and batches of unequal size."""
    weight = numbers.normal(0, 0.5, (3, 4)).astype(np.float32)
    batches = [[numbers.normal(size=(n, 4)).astype(np.float32),
                [int(y) for y in numbers.integers(0, 3, n)]] for n in (7, 4)]  # fmt: skip
    return weight, batches


@pytest.mark.requirement("epoch", grade="outcome")
@pytest.mark.about("epochs.py", r"def train_epoch")
@pytest.mark.parametrize("parts", [1, 3])
def test_an_epoch_makes_one_step_a_batch(candidate, lesson, evidence, parts):
    weight, batches = lesson
    answer = candidate.ask(
        "probes_parts.epoch", weight=weight, batches=batches, parts=parts, use_amp=False
    )
    expected, losses = weight.astype(float), []
    for x, y in batches:
        losses.append(cross_entropy(expected, x, y) * len(y))
        error = softmax(x @ expected.T) - np.eye(3)[y]
        expected = expected - error.T @ x / len(y)
    off, mean = abs(answer["weight"] - expected).max(), sum(losses) / 11
    sizes = [call[0] for call in answer["calls"]]
    evidence(f"accumulation_steps={parts}: weights {off:.4f} off one step of SGD a batch, loss "
             f"{answer['loss']:.4f}, {mean:.4f} expected; parts of {sizes}")  # fmt: skip
    assert off < 1e-4
    assert answer["loss"] == pytest.approx(mean, rel=1e-3)
    assert sizes == ([7, 4] if parts == 1 else [3, 3, 1, 2, 2])
    assert all(call[1] for call in answer["calls"]), "the model is not in train mode"


@pytest.mark.requirement("epoch", grade="introspected")
@pytest.mark.about("epochs.py", r"def train_epoch")
def test_mixed_precision_is_on_where_asked(candidate, lesson, evidence):
    weight, batches = lesson
    answer = candidate.ask(
        "probes_parts.epoch", weight=weight, batches=batches, parts=1, use_amp=True
    )
    states = {call[3] for call in answer["calls"]}
    evidence(f"use_amp=True: autocast {'on' if states == {True} else 'not always on'}")
    assert states == {True}


@pytest.mark.requirement("evaluation", grade="outcome")
@pytest.mark.about("evaluation.py", r"def evaluate")
def test_evaluation_sees_everything_once(candidate, lesson, evidence):
    weight, batches = lesson
    answer = candidate.ask("probes_parts.evaluation", weight=weight, batches=batches)
    x, y = np.concatenate([b[0] for b in batches]), [label for b in batches for label in b[1]]
    expected = cross_entropy(weight, x, y)
    evidence(f"loss {answer['loss']:.4f}, {expected:.4f} expected; {len(answer['targets'])} "
             f"targets of {len(y)}, {answer['classes']} classes of 3")  # fmt: skip
    assert answer["loss"] == pytest.approx(expected, rel=1e-3)
    assert answer["targets"] == y
    assert answer["predictions"] == (x @ weight.T).argmax(1).tolist()
    assert answer["classes"] == 3
    assert not any(call[1] or call[2] for call in answer["calls"]), (
        "in train mode, or with gradient"
    )


DEFAULTS = {
    "data_dir": "lunar_images", "save_dir": "checkpoints", "model_type": "hybrid", "dropout": 0.3,
    "pretrained": False, "epochs": 50, "batch_size": 8, "lr": 1e-4, "weight_decay": 1e-5,
    "gamma": 2.0, "patience": 7, "val_split": 0.2, "num_workers": 4, "create_sample_data": False,
    "seed": 42, "resume": None, "config": None,
}  # fmt: skip


@pytest.mark.requirement("flags", grade="introspected")
@pytest.mark.about("flags.py", r"def parse_flags")
def test_flags_have_their_defaults(candidate, inputs, evidence):
    answer = candidate.ask("probes_parts.flags", arguments=[], file={})
    expected = {**DEFAULTS, "num_classes": inputs["num_classes"]}
    wrong = {name: answer["values"].get(name, "missing") for name, value in expected.items()
             if answer["values"].get(name, "missing") != value}  # fmt: skip
    evidence(f"defaults that are others: {wrong or 'none'}")
    assert not wrong


@pytest.mark.requirement("flags", grade="outcome")
@pytest.mark.about("flags.py", r"def parse_flags")
def test_the_command_line_wins_over_the_file(candidate, challenge, evidence):
    told, kept = challenge.randrange(2, 40), round(challenge.uniform(0.1, 3), 3)
    answer = candidate.ask(
        "probes_parts.flags", arguments=["--config", "values.json", "--epochs", str(told)],
        file={"epochs": 99, "gamma": kept},
    )  # fmt: skip
    values = answer["values"]
    evidence(f"epochs {values.get('epochs')} ({told} on the command line, 99 in the file), gamma "
             f"{values.get('gamma')} ({kept} in the file)")  # fmt: skip
    assert values.get("epochs") == told
    assert values.get("gamma") == kept


@pytest.mark.requirement("samples", grade="outcome")
@pytest.mark.about("samples.py", r"def create_sample_data")
def test_sample_images_are_told_apart_by_their_pattern(candidate, challenge, evidence):
    classes = challenge.randrange(2, 5)
    answer = candidate.ask("probes_parts.samples", number=3 * classes, classes=classes)
    folders, images = answer["folders"], answer["images"].astype(float)
    names = sorted({*folders})
    assert images.shape[1:] == (256, 256), f"images of {images.shape[1:]}"
    means = [images[[f == name for f in folders]].mean(0) for name in names]
    within = np.mean([images[[f == name for f in folders]].std(0).mean() for name in names])
    between = np.std(means, axis=0).mean()
    kinds = ", ".join(sorted({*answer["suffixes"]}))
    evidence(f"{len(folders)} {kinds} files in {len(names)} folders, {3 * classes} in {classes} "
             f"asked; classes differ by {between:.0f}, images of a class by {within:.0f} gray "
             "values")  # fmt: skip
    assert len(folders) == 3 * classes
    assert len(names) == classes
    assert {folders.count(name) for name in names} == {3}
    assert between > 2 * within > 0
