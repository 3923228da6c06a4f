"""The contract of the step preprocessing: what loaders hand out, measured on images of its own."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from types import SimpleNamespace

import numpy as np
import pictures
import pytest

COPIES = 80
TRAIN = 64
"""Of them, at the default val_split of 0.2."""
CLASSES = ("crater", "highland", "mare", "mons", "rima")
TURN = re.compile(r"[Rr]otat|affine|\bangle")
MIRROR = re.compile(r"[Ff]lip|[Mm]irror")


def numbers_of(chance):
    """Return numpy's generator for a `random.Random`."""
    return np.random.default_rng(chance.getrandbits(64))


def images_of(answer, what="images"):
    """Return N×C×H×W and the labels of an answer, whatever came."""
    images, labels = answer["images"], answer["labels"]
    assert isinstance(images, np.ndarray), f"the {what} are no tensors"
    assert images.ndim == 4, f"the {what} have the shape {images.shape}; N×C×H×W is asked for"
    assert images.dtype == np.float32
    assert isinstance(labels, list)
    return images, labels


@pytest.fixture(scope="session")
def validated(candidate):
    """Return validation images of coded pictures, all channels."""
    files = {f"{c}/{n}.png": pictures.coded(n) for n in range(8) for c in "ab"}
    answer = candidate.ask("probes_preprocessing.views", files=files, which="val", val_split=0.5)
    images, _ = images_of(answer)
    assert len(images), "the validation loader is empty at val_split=0.5"
    assert images.shape[2:] == (256, 256), f"images come as {images.shape[2:]}, not 256×256"
    return images


@pytest.fixture(scope="session")
def channel(validated):
    """Return the channel that shows the picture itself; others may show views of it."""
    images, distance = validated, pictures.radii() < pictures.OUTER
    known = np.stack([pictures.coded(n) for n in range(8)])[:, distance].astype(np.float32)
    known -= known.mean(1, keepdims=True)
    fits = []
    for number in range(images.shape[1]):
        seen = images[:, number, distance]
        seen = seen - seen.mean(1, keepdims=True)
        size = np.linalg.norm(seen, axis=1)[:, None] * np.linalg.norm(known, axis=1)
        fits.append(float((seen @ known.T / np.maximum(size, 1e-9)).max(1).mean()))
    return int(np.argmax(fits))


def train_views(candidate, channel, picture):
    files = {f"{'ab'[n % 2]}/{n}.png": picture for n in range(COPIES)}
    answer = candidate.ask("probes_preprocessing.views", files=files, channels=[channel])
    images, _ = images_of(answer)
    assert len(images) >= TRAIN // 2, (
        f"{len(images)} of {COPIES} images came for training, not {TRAIN}"
    )
    assert images.shape[2:] == (256, 256), f"images come as {images.shape[2:]}, not 256×256"
    return images[:, 0]


@pytest.fixture(scope="session")
def lit(candidate, channel, validated):
    """Return training views of a disc, on the scale of the picture.

    That values come from 0 to 1 is the business of normalization alone: where they do not, they
    are brought back.
    """
    views = train_views(candidate, channel, pictures.disc())
    scale, offset = pictures.scale(validated[:, channel])
    return views if abs(scale - 1) < 0.3 and abs(offset) < 0.3 else (views - offset) / scale


@pytest.fixture(scope="session")
def posed(candidate, channel, fresh):
    """Return angles and mirrorings of training views of one piece of ground."""
    ground = pictures.texture(numbers_of(fresh("ground")))
    return SimpleNamespace(
        **dict(
            zip(
                ("angle", "sideways", "upside"),
                pictures.poses(train_views(candidate, channel, ground), ground),
                strict=True,
            )
        )
    )


@pytest.mark.requirement("rotation", grade="outcome")
@pytest.mark.about("preprocessing.py", TURN.pattern)
def test_training_images_are_turned_within_fifteen_degrees(posed, evidence):
    # a mirror turns the sense of a turn around: those of both kinds are looked at apart
    plain = posed.angle[posed.sideways == posed.upside]
    low, high = float(posed.angle.min()), float(posed.angle.max())
    told = f"{len(posed.angle)} training images are turned by {low:.1f}° to {high:.1f}°"
    if len(plain) and min(plain.max(), -plain.min()) < 3:
        reach = f"{plain.min():.1f}° to {plain.max():.1f}°"
        told = f"{len(plain)} unmirrored images are turned by {reach}"
    evidence(f"{told}; all of −15° to 15° is asked for")
    assert -16.5 <= low < -11
    assert 11 < high <= 16.5
    if len(plain) > 12:
        assert plain.min() < -3 < 3 < plain.max()


@pytest.mark.requirement("mirroring", grade="introspected")
@pytest.mark.about("preprocessing.py", MIRROR.pattern)
def test_training_images_are_mirrored_both_ways_by_chance(posed, evidence):
    sideways, upside = posed.sideways.mean(), posed.upside.mean()
    together = (posed.sideways == posed.upside).mean()
    evidence(
        f"{sideways:.0%} of {len(posed.angle)} training images are mirrored left to right, "
        f"{upside:.0%} top to bottom; each with probability ½ is asked for"
        + ("; both always come together" if together > 0.9 else "")
    )
    assert 0.25 < sideways < 0.75
    assert 0.25 < upside < 0.75
    assert 0.2 < together < 0.8


def within(name, factors, evidence):
    low, high = float(factors.min()), float(factors.max())
    evidence(f"{name} factors of {low:.2f} to {high:.2f} measured on {len(factors)} training "
             "images; 0.8 to 1.2 is asked for")  # fmt: skip
    assert low >= 0.77
    assert high <= 1.23
    assert low < 0.87
    assert high > 1.13


@pytest.mark.requirement("brightness_contrast", grade="introspected")
@pytest.mark.about("preprocessing.py", r"[Bb]right|Jitter")
def test_brightness_varies_by_a_fifth(lit, evidence):
    within("brightness", pictures.light(lit)[0], evidence)


@pytest.mark.requirement("brightness_contrast", grade="introspected")
@pytest.mark.about("preprocessing.py", r"[Cc]ontrast|Jitter")
def test_contrast_varies_by_a_fifth(lit, evidence):
    within("contrast", pictures.light(lit)[1], evidence)


@pytest.mark.requirement("noise", grade="introspected")
@pytest.mark.about("preprocessing.py", r"randn|normal|gauss|noise")
def test_training_images_carry_gaussian_noise(lit, evidence):
    grain = pictures.grain(lit)
    sigma = float(grain.std())
    shape = float((grain**4).mean() / max((grain**2).mean() ** 2, 1e-20))
    alike = float(abs((grain[0] * grain[1]).mean()) / max((grain**2).mean(), 1e-20))
    told = f"sigma {sigma:.4f} measured on flat ground of training images, 0.01 asked"
    if sigma > 1e-4 and not 2.8 < shape < 3.2:
        told += f"; it is not Gaussian (kurtosis {shape:.2f} instead of 3)"
    if sigma > 1e-4 and alike > 0.5:
        told += "; every image has the same noise"
    evidence(told)
    assert sigma == pytest.approx(0.01, rel=0.15)
    assert 2.8 < shape < 3.2
    assert alike < 0.5


@pytest.mark.requirement("eval_is_plain", grade="outcome")
@pytest.mark.about("preprocessing.py", r"train|augment")
def test_validation_images_are_never_augmented(candidate, channel, challenge, evidence):
    ground = pictures.texture(numbers_of(challenge))
    files = {f"{'ab'[n % 2]}/{n}.png": ground for n in range(24)}
    found = [
        images_of(
            candidate.ask(
                "probes_preprocessing.views", files=files, which="val", epochs=2,
                val_split=0.5, channels=[channel],
            )
        )[0]
        for _ in range(2)
    ]  # fmt: skip
    images = np.concatenate(found)[:, 0]
    spread = float((images.max(0) - images.min(0)).max())
    angle, sideways, upside = pictures.poses(images, ground)
    turned = float(np.abs(angle).max())
    mirrored = int((sideways | upside).sum())
    evidence(
        f"{len(images)} validation images of one picture differ by {spread:.3f} at most, are "
        f"turned by {turned:.1f}° at most, {mirrored} mirrored; none of it is asked for"
    )
    assert len(images)
    assert spread < 1e-4
    assert turned < 2
    assert not mirrored


LEVELS = (0.25, 0.5, 0.75)


@pytest.mark.requirement("normalization", grade="introspected")
@pytest.mark.about("preprocessing.py", r"255|65535|iinfo|ToTensor|normal")
def test_levels_of_gray_arrive_on_the_scale_from_0_to_1(candidate, channel, evidence):
    files = {}
    for number in range(84):
        level, deep = LEVELS[number % 3], number // 3 % 2
        value = np.full((256, 256), round(level * (65535 if deep else 255)))
        path = f"{'ab'[deep]}/{number}_{number % 3}.png"
        files[path] = value.astype(np.uint16 if deep else np.uint8)
    answer = candidate.ask(
        "probes_preprocessing.views", files=files, which="val", val_split=0.5, channels=[channel]
    )
    images, labels = images_of(answer)
    assert "uint8" not in answer["dtype"], "images come as uint8, 0 to 255; 0 to 1 is asked for"
    inner = images[:, 0, 96:160, 96:160].mean((1, 2))
    bits = {0: 8, 1: 16}
    found = {bits.get(label, label): sorted(inner[np.asarray(labels) == label]) for label in (0, 1)}
    # how many images of each level come is a matter of chance; that some of each do is not
    told = {
        depth: [float(values[n]) for n in (0, len(values) // 2, -1)]
        for depth, values in found.items()
        if values
    }
    assert set(told) == {8, 16}, f"only files of {sorted(told)} bits arrive"
    evidence("; ".join(
        f"gray of 0.25, 0.5 and 0.75 in files of {depth} bits arrives as "
        f"{', '.join(f'{each:.2f}' for each in values)}" for depth, values in told.items()
    ) + f"; all values lie in {answer['low']:.2f} to {answer['high']:.2f}")  # fmt: skip
    assert answer["low"] >= 0
    assert answer["high"] <= 1
    for values in told.values():
        assert values[0] == pytest.approx(0.25, rel=0.25)
        assert values[-1] == pytest.approx(0.75, rel=0.25)


@pytest.mark.requirement("high_pass", grade="introspected")
@pytest.mark.about("preprocessing.py", r"high_?pass|blur")
def test_the_filter_is_linear_and_blind_to_what_is_constant(candidate, challenge, evidence):
    one, other = numbers_of(challenge).random((2, 3, 64, 64)).astype(np.float32) / 2
    edge = np.full((3, 64, 64), 0.3, np.float32)
    edge[..., 32:] = 0.7
    constant = np.full((3, 64, 64), 0.6, np.float32)
    images = [constant, edge, one, other, one + other, edge]
    answer = candidate.ask("probes_preprocessing.filtered", images=images)
    if not answer["name"]:
        evidence("preprocessing.py has no function whose name says high_pass")
    assert answer["name"]
    views = answer["views"]
    assert isinstance(views, list)
    shapes = {tuple(view.shape) for view in views if isinstance(view, np.ndarray)}
    if shapes != {(3, 64, 64)}:
        evidence(f"{answer['name']} makes {sorted(shapes)} of images of 3×64×64")
    assert shapes == {(3, 64, 64)}
    assert len(views) == len(images)
    flat, step, first, second, whole, repeated = views
    sag, crest = float(np.abs(flat).max()), float(np.abs(step).max())
    bent = float(np.abs(first + second - whole).max())
    again = float(np.abs(step - repeated).max())
    if again > 1e-4:
        evidence(
            f"{answer['name']} gives another result each time, {again:.2f} apart for one image"
        )
    evidence(
        f"{answer['name']} gives {sag:.4f} on a constant image (0 asked), {crest:.2f} at an edge "
        f"(not 0 asked); the view of a sum differs from the sum of views by {bent:.4f} (0 asked)"
    )
    assert sag < 2e-3
    assert crest > 0.02
    assert bent < 5e-3


@pytest.mark.requirement("high_pass", grade="introspected")
@pytest.mark.about("preprocessing.py", r"high_?pass|blur")
def test_the_view_is_in_what_the_loader_hands_out(candidate, evidence):
    picture = pictures.disc()
    files = {f"{'ab'[n % 2]}/{n}.png": picture for n in range(8)}
    answer = candidate.ask("probes_preprocessing.views", files=files, which="val", val_split=0.5)
    images, _ = images_of(answer)
    plain = picture.astype(np.float32) / 255
    near = np.abs(pictures.radii() - pictures.INNER) < 6
    differs = float(np.abs(images - plain)[:, :, near].max()) if len(images) else 0.0
    evidence(f"at an edge, validation images differ from the plain picture by {differs:.3f}; "
             "a high-pass view would show there")  # fmt: skip
    assert differs > 0.015


@pytest.mark.requirement("multi_scale", grade="outcome")
@pytest.mark.about("preprocessing.py", r"image_size|[Rr]esize")
@pytest.mark.parametrize("size", [256, 512])
def test_tensors_come_in_the_size_asked_for(candidate, challenge, evidence, size):
    numbers = challenge.sample(range(64), 8)
    sizes = (200, 256, 300, 640)
    files = {
        f"{'ab'[n % 2]}/{number}.png": pictures.coded(number, sizes[n % 4])
        for n, number in enumerate(numbers)
    }
    answer = candidate.ask(
        "probes_preprocessing.both", files=files, size=size, epochs=1, val_split=0.5, batch_size=2
    )
    seen = []
    for part in ("train", "val"):
        assert isinstance(answer[part], dict)
        images, _ = images_of(answer[part])
        seen.append((images.shape[2:], [max(map(pictures.decoded, each), key=numbers.count)
                                        for each in images]))  # fmt: skip
    shapes = [f"{shape[0]}×{shape[1]}" for shape, _ in seen]
    right = sum(number in numbers for _, found in seen for number in found)
    count = sum(len(found) for _, found in seen)
    evidence(
        f"asked for {size}×{size}: training images are {shapes[0]}, validation images {shapes[1]}; "
        f"{right} of {count} show the whole picture"
    )
    assert all(shape == (size, size) for shape, _ in seen)
    assert count
    assert right == count


@pytest.fixture(scope="session")
def dealt(candidate, channel, fresh):
    """Return what both loaders make of fifty files whose contents tell them apart."""
    chance = numbers_of(fresh("dealt"))
    spelled = chance.permutation(64)[:50].tolist()
    files = {
        f"{CLASSES[n % 5]}/{chance.integers(10**6):06}.png": pictures.coded(number)
        for n, number in enumerate(spelled)
    }
    answers = [
        candidate.ask("probes_preprocessing.both", files=files, epochs=epochs, channels=[channel])
        for epochs in (2, 0)
    ]
    told = []
    for answer in answers:
        parts = []
        for part in ("train", "val"):
            images, labels = images_of(answer[part])
            parts.append(
                [*zip([pictures.decoded(each[0]) for each in images], labels, strict=False)]
            )
        told.append(parts)
    truth = {number: n % 5 for n, number in enumerate(spelled)}
    return SimpleNamespace(answer=answers[0], first=told[0], second=told[1], truth=truth)


@pytest.mark.requirement("dataloader", grade="outcome")
@pytest.mark.about("preprocessing.py", r"val_split|shuffle|split")
def test_the_files_are_split_once_and_for_all(dealt, evidence):
    train, validation = ({number for number, _ in part} for part in dealt.first)
    again = {number for number, _ in dealt.second[1]}
    shared, lost = len(train & validation), len(dealt.truth.keys() - train - validation)
    strange = (train | validation) - dealt.truth.keys()
    evidence(
        f"50 files: {len(train)} for training (40 asked), {len(validation)} for validation "
        f"(10 asked), {shared} in both, {lost} in neither; asked again, "
        + ("the same" if again == validation else "others")
    )
    assert 9 <= len(validation) <= 11
    assert not shared
    assert lost <= 2  # a last batch may be dropped, a different one in each epoch
    assert not strange
    assert again == validation


@pytest.mark.requirement("dataloader", grade="outcome")
@pytest.mark.about("preprocessing.py", r"label|class")
def test_labels_are_the_numbers_of_the_folders(dealt, evidence):
    pairs = [pair for part in dealt.first for pair in part]
    wrong = sum(dealt.truth.get(number) != label for number, label in pairs)
    order = [label for _, label in dealt.first[0][:40]]
    told = f"{wrong} of {len(pairs)} images have another label than their folder's number"
    sorted_by_class = order == sorted(order)
    evidence(told + ("; training images come sorted by class" if sorted_by_class else ""))
    assert pairs
    assert not wrong
    assert not sorted_by_class


@pytest.mark.requirement("dataloader", grade="introspected")
@pytest.mark.about("preprocessing.py", r"DataLoader\(")
def test_batches_are_what_the_model_and_the_loss_take(dealt, evidence):
    answer = dealt.answer
    evidence(
        f"a batch is {answer['kind']} {answer['dtype']} {answer['shape']} and "
        f"{answer['label_dtype']} {answer['label_shape']}; "
        "float32 8×3×256×256 and int64 8 are asked for"
    )
    assert answer["loaders"] == [True, True], "no torch DataLoaders"
    assert answer["kind"] == "Tensor"
    assert answer["shape"] == [8, 3, 256, 256]
    assert (answer["label_dtype"], answer["label_shape"]) == ("torch.int64", [8])
    # how uint8 would be scaled is the business of normalization
    assert answer["dtype"] in ("torch.float32", "torch.uint8")


FORMATS = (
    *("a.png", "b.PNG", "c.jpg", "d.jpeg", "e.JPG", "f.tif", "g.tiff", "h.bmp", "i.webp"),
    *("j.rgb.png", "k.rgba.png", "l.palette.png", "m.rgb.jpg", "n.rgb.tif", "o.rgb.webp"),
    *("p.deep.png", "q.deep.tif"),
)


@pytest.mark.requirement("formats", grade="outcome")
@pytest.mark.about("preprocessing.py", r"\.png|suffix|ext|convert|open\(")
def test_every_format_and_mode_is_read(candidate, channel, challenge, evidence):
    numbers = dict(zip(FORMATS, challenge.sample(range(64), len(FORMATS)), strict=True))
    files = {}
    for index, (name, number) in enumerate(numbers.items()):
        picture = pictures.coded(number)
        deep = ".deep." in name
        files[f"{'ab'[index % 2]}/{name}"] = picture.astype(np.uint16) * 257 if deep else picture
    answer = candidate.ask(
        "probes_preprocessing.both", files=files, epochs=3, channels=[channel],
        val_split=0.3, batch_size=1,
    )  # fmt: skip
    seen = []
    for part in ("train", "val"):
        images, _ = images_of(answer[part])
        seen += [pictures.decoded(each[0]) for each in images]
    # how 16 bits are scaled is the business of normalization: a picture that is white all over
    # was read, too
    missing = [name for name, number in numbers.items() if number not in seen]
    blank = sum(number not in numbers.values() for number in seen)
    if blank and all(".deep." in name for name in missing):
        missing = []
    evidence(
        f"{len(numbers) - len(missing)} of {len(numbers)} kinds of files are read"
        + (f"; not {', '.join(missing)}" if missing else "")
    )
    assert not missing
    # whoever shows every number there is has read none
    assert len({*seen} - {*numbers.values()}) <= len(numbers)


@pytest.mark.requirement("batch_memory", grade="introspected")
@pytest.mark.about("preprocessing.py", r"__init__|open\(|read")
def test_files_are_opened_when_their_turn_comes(candidate, channel, evidence):
    before = {f"{'ab'[n % 2]}/{n}.png": pictures.coded(n) for n in range(10)}
    after = {path: pictures.coded(number + 32) for number, path in enumerate(before)}
    answer = candidate.ask(
        "probes_preprocessing.rewritten", files=before, later=after, channels=[channel],
        val_split=0.5, batch_size=2,
    )  # fmt: skip
    images, _ = images_of(answer)
    numbers = [pictures.decoded(each[0]) for each in images]
    early = sum(number < 32 for number in numbers)
    evidence(f"{early} of {len(numbers)} images were read before their turn came; none is asked")
    assert numbers
    assert not early


@pytest.mark.requirement("batch_memory", grade="introspected")
@pytest.mark.about("preprocessing.py", r"__init__|cache|open\(|read")
def test_memory_does_not_grow_with_the_number_of_files(candidate, evidence):
    few, many, side = 16, 80, 512
    answer = candidate.ask("probes_preprocessing.memory", time_s=90, few=few, many=many, side=side)
    growth = answer["growth"]
    assert type(growth) is float
    evidence(f"after reading {many} files, {growth:.0f} MiB more are in use than after {few}")
    assert growth < 8


def remarks(text):
    """Yield the comments and docstrings of a module."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and not token.string.startswith(
            ("#!", "# type", "# noqa")
        ):
            yield token.string
    owners = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, owners):
            yield ast.get_docstring(node) or ""


@pytest.mark.requirement("comments", grade="static")
@pytest.mark.about("preprocessing.py", r"#|\"\"\"")
def test_comments_are_in_the_language_asked_for(code, inputs, evidence):
    path = code.folder / "preprocessing.py"
    assert path.exists(), "there is no preprocessing.py"
    try:
        told = [
            each for each in remarks(path.read_text("utf-8-sig")) if re.search(r"[^\W\d_]", each)
        ]
    except (SyntaxError, ValueError, RecursionError, tokenize.TokenError):
        told = []
    cyrillic = sum(bool(re.search(r"[а-яё]", each, re.I)) for each in told)
    language = inputs["language"]
    evidence(
        f"{cyrillic} of {len(told)} comments and docstrings of preprocessing.py are in Cyrillic; "
        f"{'Russian' if language == 'ru' else 'English'} is asked for"
    )
    assert told
    assert cyrillic > len(told) / 2 if language == "ru" else cyrillic < len(told) / 2
