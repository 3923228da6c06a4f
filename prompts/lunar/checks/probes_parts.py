"""Travels into the sandbox: puts single components of lunar-fine.yaml to the question."""

import json
import logging
import os
from unittest import mock

import numpy as np
import torch
from PIL import Image

MODES = {"png": "L", "jpg": "RGB", "TIF": "L", "bmp": "RGB", "webp": "RGB"}


def paths(candidate, names):
    """Make empty files and return what is found, relative to the folder."""
    for name in names:
        place = os.path.join("images", name)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        open(place, "w").close()
    found = returned(candidate.paths.get_image_paths("images"), "get_image_paths")
    return {"paths": [os.path.relpath(str(path), "images") for path in found], "kind": kind(found)}


def labels(candidate, names):
    found = returned(candidate.paths.get_labels(names), "get_labels")
    return {"labels": [int(each) for each in found]}


def loaded(candidate, pixels):
    """Write gray values as files of several kinds, and return what comes of each."""
    pixels = np.asarray(pixels, np.uint8)  # H×W
    made = {suffix: Image.fromarray(pixels).convert(mode) for suffix, mode in MODES.items()}
    made["png16"] = Image.fromarray(pixels.astype(np.uint16) * 257)
    made["pal"] = Image.fromarray(pixels).convert("RGB").convert("P", palette=Image.ADAPTIVE)
    made["rgba"] = Image.fromarray(pixels).convert("RGBA")
    answer = {}
    for name, image in made.items():
        path = f"{name}.{name if name in MODES else 'png'}"
        image.save(path, **({"quality": 100} if name in ("jpg", "webp") else {}))
        answer[name] = torch.as_tensor(returned(candidate.images.load_image(path), "load_image"))
    return answer


def applied(candidate, module, function, images, times=1):
    """Return what a function makes of each image N×3×H×W, and whether the image stayed whole."""
    called = getattr(getattr(candidate, module), function)
    results, kept = [], True
    for each in images:
        image = torch.from_numpy(each.copy())
        made = [returned(called(image.clone()), function) for _ in range(times)]
        results += [torch.as_tensor(each) for each in made]
        twin = image.clone()
        called(twin)
        kept &= bool(torch.equal(twin, image))
    return {"views": torch.stack(results), "kept": kept}


def dataset(candidate, pixels, size, train, times):
    """Return the items of a dataset over one file that is written only after it was made."""
    made = candidate.dataset.LunarDataset(["late.png"], [3], size, train)
    Image.fromarray(np.asarray(pixels, np.uint8)).save("late.png")
    items = [several(made[0], 2, "__getitem__") for _ in range(times)]
    labels = [item[1] for item in items]
    return {"views": torch.stack([torch.as_tensor(item[0]) for item in items]),
            "labels": [int(label) for label in labels], "length": len(made)}  # fmt: skip


def pyramid(candidate, impulse):
    """Return where the branches of an ASPP hear an impulse 1×C×H×W, and the size of the rest."""
    module = candidate.pyramid.ASPP(impulse.shape[1], 4).eval()
    x = torch.from_numpy(impulse.copy())
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, torch.nn.Conv2d):
                torch.nn.init.constant_(layer.weight, 0.1)
        quiet, heard = (returned(module(each), "forward") for each in (torch.zeros_like(x), x))
    wide = candidate.pyramid.ASPP(6, 5)
    shape = list(wide.train()(torch.rand(2, 6, 9, 7)).shape)
    return {"change": (heard - quiet)[0].abs().sum(0), "shape": shape, **counted(module)}


def counted(module):
    kinds = [type(layer).__name__ for layer in module.modules()]
    return {"kinds": kinds}


def gate(candidate, images):
    """Return input and output of a gate in eval mode, and whether its mask follows its weights."""
    module = candidate.gate.SkipAttention(images.shape[1]).eval()
    x = torch.from_numpy(images.copy())
    with torch.no_grad():
        first = returned(module(x), "forward")
        for parameter in module.parameters():
            parameter.add_(0.5)
        second = module(x)
    return {"first": first, "second": second, **counted(module)}


def block(candidate, tokens, order, dropout):
    """Return what a block makes of tokens B×N×dim: as they are, in another order, in training."""
    module = candidate.block.TransformerBlock(tokens.shape[2], 4, dropout)
    x = torch.from_numpy(tokens.copy())
    with torch.no_grad():
        module.eval()
        plain, turned = returned(module(x), "forward"), module(x[:, order])
        other = x.clone()
        other[:, -1, 0] += 3  # one feature: the norm takes away what all have in common
        mixed = module(other)
        module.train()
        noisy = [module(x) for _ in range(2)]
        for parameter in module.parameters():
            parameter.zero_()
        silent = module.eval()(x)
    return {"plain": plain, "turned": turned, "mixed": mixed, "silent": silent,
            "same": bool(torch.equal(*noisy)), **counted(module)}  # fmt: skip


def split(candidate, paths, labels, share):
    """Return the four lists, asked for twice."""
    made = [
        several(candidate.split.split_files([*paths], [*labels], share), 4, "split_files")
        for _ in range(2)
    ]
    return {"lists": [[*part] for part in made[0]], "again": [[*part] for part in made[1]]}


def options(candidate, batch, workers, gpu):
    """Return the options where torch says that there is a GPU, or that there is none."""
    with mock.patch.object(torch.cuda, "is_available", return_value=gpu):
        made = returned(candidate.options.loader_options(batch, workers), "loader_options")
    return {"options": dict(made)}


def trunk(candidate, image):
    """Return what is frozen, and what a pass in train mode moves."""
    made = returned(candidate.trunk.make_trunk(), "make_trunk")
    frozen = {name: not any(p.requires_grad for p in part.parameters())
              for name, part in made.named_children() if [*part.parameters()]}  # fmt: skip
    before = {name: buffer.clone() for name, buffer in made.named_buffers()}
    made.train()
    candidate.trunk.keep_frozen(made)
    x = torch.from_numpy(image.copy())
    x = made.layer1(made.maxpool(made.relu(made.bn1(made.conv1(x)))))
    made.layer4(made.layer3(made.layer2(x)))
    moved = sorted({name.split(".")[0] for name, buffer in made.named_buffers()
                    if not torch.equal(buffer, before[name])})  # fmt: skip
    return {"frozen": frozen, "moved": moved, "fc": hasattr(made, "fc")}


def features(candidate, image):
    """Return the shapes of the features, and how far they are off those of the layers."""
    made = returned(candidate.trunk.make_trunk(), "make_trunk").eval()
    with torch.no_grad():
        x = torch.from_numpy(image.copy())
        y = made.layer2(made.layer1(made.maxpool(made.relu(made.bn1(made.conv1(x))))))
        seen = several(candidate.trunk.features(made, x), 2, "features")
        right = (y, made.layer4(made.layer3(y)))
        gaps = [float((one - two).abs().max()) if one.shape == two.shape else 9.0
                for one, two in zip(seen, right, strict=True)]  # fmt: skip
    return {"shapes": [list(part.shape) for part in seen], "gap": max(gaps)}


def weights(candidate):
    """Return standard deviations over those of He, and biases, after initialisation."""
    module = torch.nn.Sequential(
        torch.nn.Conv2d(40, 60, 3), torch.nn.BatchNorm2d(60), torch.nn.Linear(300, 200),
        torch.nn.Conv2d(30, 20, 5, bias=False),
    )  # fmt: skip
    candidate.weights.init_weights(module)
    layers = [module[0], module[2], module[3]]
    ratios = [float(layer.weight.std() / np.sqrt(2 / layer.weight[0].numel())) for layer in layers]
    biases = [float(layer.bias.abs().max()) for layer in layers if layer.bias is not None]
    return {"ratios": ratios, "biases": biases, "norm": float(module[1].weight.min())}


def simple(candidate, classes, sizes):
    module = candidate.simple.SimpleModel(classes, 0.3)
    shapes = [list(module.eval()(torch.rand(2, 3, size, size)).shape) for size in sizes]
    found = [layer.p for layer in module.modules() if isinstance(layer, torch.nn.Dropout)]
    return {"shapes": shapes, "dropout": [float(p) for p in found], **counted(module)}


def loss(candidate, logits, targets, gammas):
    """Return value and gradient of the loss for each gamma."""
    values, gradients = [], []
    for gamma in gammas:
        x = torch.from_numpy(logits.copy()).requires_grad_()
        value = returned(candidate.loss.FocalLoss(gamma)(x, torch.tensor(targets)), "forward")
        value.backward()
        values.append(float(value))
        gradients.append(x.grad)
    default = candidate.loss.FocalLoss()(torch.from_numpy(logits.copy()), torch.tensor(targets))
    return {"values": values, "gradients": torch.stack(gradients), "default": float(default)}


def scores(candidate, targets, predictions, classes):
    told = candidate.scores.compute_metrics(
        torch.tensor(targets), torch.tensor(predictions), classes
    )
    found = returned(told, "compute_metrics")
    assert kind(found) == "dict", f"compute_metrics must return a dict, not {kind(found)}"
    kinds = {str(key): kind(value) for key, value in found.items()}
    values = {key: float(value) for key, value in found.items() if kinds[str(key)] == "float"}
    return {"values": values, "kinds": kinds}


def curves(candidate, history, others):
    """Return the pixels of a history's picture, and which other histories look the same."""
    pictures = []
    for number, each in enumerate([history, *others]):
        candidate.curves.plot_history(each, f"{number}.png")
        pictures.append(np.asarray(Image.open(f"{number}.png").convert("RGB")))
    same = [bool(np.array_equal(pictures[0], other)) for other in pictures[1:]]
    return {"colours": len(np.unique(pictures[0].reshape(-1, 3), axis=0)), "same": same,
            "size": list(pictures[0].shape)}  # fmt: skip


class Watched(torch.nn.Linear):
    """Notes how it was called."""

    def forward(self, x):
        calls.append((len(x), self.training, torch.is_grad_enabled(),
                      torch.is_autocast_enabled("cpu")))  # fmt: skip
        return super().forward(x)


calls = []


def epoch(candidate, weight, batches, parts, use_amp):
    """Train one epoch by plain steps of size 1, and return the weights and what was seen."""
    model = Watched(weight.shape[1], weight.shape[0], bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(weight))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    told = candidate.epochs.train_epoch(
        model, loader_of(batches), torch.nn.CrossEntropyLoss(), optimizer,
        torch.amp.GradScaler("cpu", enabled=False), torch.device("cpu"), use_amp, parts,
    )  # fmt: skip
    return {
        "weight": model.weight,
        "loss": float(returned(told, "train_epoch")),
        "calls": [list(call) for call in calls],
    }


def evaluation(candidate, weight, batches):
    model = Watched(weight.shape[1], weight.shape[0], bias=False).train()
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(weight))
    told = candidate.evaluation.evaluate(
        model, loader_of(batches), torch.nn.CrossEntropyLoss(), torch.device("cpu"), False
    )
    loss, targets, predictions, classes = several(told, 4, "evaluate")
    return {"loss": float(loss), "targets": [int(t) for t in targets], "classes": int(classes),
            "predictions": [int(p) for p in predictions],
            "calls": [list(call) for call in calls]}  # fmt: skip


def loader_of(batches):
    return [(torch.from_numpy(x.copy()), torch.tensor(y)) for x, y in batches]


def flags(candidate, arguments, file):
    with open("values.json", "w") as target:
        json.dump(file, target)
    return {"values": vars(returned(candidate.flags.parse_flags(arguments), "parse_flags"))}


def samples(candidate, number, classes):
    """Return label and pixels of the sample images."""
    logging.disable()
    candidate.samples.create_sample_data("made", number, classes)
    found = sorted(os.path.join(place, name) for place, _, names in os.walk("made")
                   for name in names)  # fmt: skip
    folders = [os.path.basename(os.path.dirname(path)) for path in found]
    images = [Image.open(path) for path in found]
    return {"folders": folders, "suffixes": [path.rsplit(".", 1)[-1] for path in found],
            "images": np.stack([np.asarray(image.convert("L")) for image in images])}  # fmt: skip


def returned(value, name):
    """Return what a function of the candidate gave back, if it gave anything."""
    assert value is not None, f"{name} returned None: its return is missing"
    return value


def several(values, count, name):
    """Return the values of a tuple or list of so many."""
    told = f"{len(values)}" if isinstance(values, tuple | list) else kind(values)
    assert told == f"{count}", f"{name} must return {count} values, not {told}"
    return values


def kind(value):
    return type(value).__name__
