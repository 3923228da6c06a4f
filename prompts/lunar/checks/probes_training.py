"""Travels into the sandbox: trains networks that follow a script, and tells what became of them.

The network of these probes takes its logits and its gradients from tables, so that the code under
test decides only what it is asked about: the loss, the steps, the scores, the records, the files.
"""

import inspect
import logging
import os
import sys
import tempfile
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.backend_bases import FigureCanvasBase
from PIL import Image
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import DataLoader, TensorDataset

_SCALE, _FIRST_VALIDATION = 256, 128  # an image's first pixel tells its number, in 1/256
_SIDE = 2
_MAX_PIXELS = 3 << 20
_FOREIGN = ("matplotlib", "PIL", "torch", "asyncio")


class _Scripted(torch.autograd.Function):
    """Hands on logits of a table; backwards, gives the parameters gradients of a table."""

    @staticmethod
    def forward(ctx, logits, weight, still, frozen, network):
        ctx.network, ctx.shapes = network, (weight, still, frozen)
        return logits.clone()

    @staticmethod
    def backward(ctx, received):
        network, (weight, still, frozen) = ctx.network, ctx.shapes
        network.received.append((network.epoch, received.detach().double().cpu().clone()))
        thawed = torch.ones_like(frozen) if ctx.needs_input_grad[3] else None
        return None, network.gradient().to(weight), torch.zeros_like(still), thawed, None


class Network(nn.Module):
    """Answers from tables, and notes its parameters whenever it is called."""

    def __init__(self, script):
        super().__init__()
        self.script = script
        gradients = torch.as_tensor(script["gradients"], dtype=torch.float64)  # steps×parameters
        self.weight = nn.Parameter(torch.linspace(-1, 1, gradients.shape[1], dtype=torch.float64))
        self.still = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
        self.frozen = nn.Parameter(torch.tensor([3.0, 0.5]), requires_grad=False)
        self.head = nn.Linear(3 * _SIDE * _SIDE, len(script["logits"][0])).requires_grad_(False)
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))
        self.epoch, self.events, self.received, self.states = 0, [], [], []

    def forward(self, images):
        numbers = (images[:, 0, 0, 0].float() * _SCALE).round().long().cpu()
        validation = bool((numbers >= _FIRST_VALIDATION).all())
        if not validation:
            self.epoch += int((numbers == 0).any())
            self.passes += 1
        self._note(validation, len(numbers))
        table = self._validation(numbers) if validation else self._training(numbers)
        nothing = 0 * self.head(images.flatten(1)).float()
        table = table.to(images.device) + nothing
        return _Scripted.apply(table, self.weight, self.still, self.frozen, self)

    def gradient(self):
        """Return the gradient of the step that is being taken."""
        table = torch.as_tensor(self.script["gradients"])
        return table[min(len(self.states), len(table)) - 1]

    def _training(self, numbers):
        growth = 0.9 + 0.1 * self.epoch  # so that the loss of every epoch is another one
        return growth * torch.as_tensor(self.script["logits"])[numbers].float()

    def _validation(self, numbers):
        row = min(self.epoch, len(self.script["predictions"])) - 1
        predicted = torch.as_tensor(self.script["predictions"][row])[numbers - _FIRST_VALIDATION]
        one_hot = nn.functional.one_hot(predicted, len(self.script["logits"][0])).float()
        return one_hot * self.script["confidence"][row]

    def _note(self, validation, size):
        weight, still = (each.detach().double().cpu().clone() for each in (self.weight, self.still))
        if not self.states or not torch.equal(self.states[-1], weight):
            self.states.append(weight)
        seen = (self.epoch, validation, self.training, size, weight, still, self.fingerprint())
        self.events.append(seen)

    def fingerprint(self):
        """Return all that a checkpoint must hold, as one row of numbers."""
        parts = [value.detach().double().flatten() for value in self.state_dict().values()]
        return torch.cat(parts).cpu()


class _Lines(logging.Handler):
    """Keeps (epoch, after its validation, text) of each line, whichever logger it came from."""

    def __init__(self, network):
        super().__init__()
        self.network, self.lines = network, []

    def emit(self, record):
        if record.name.partition(".")[0] not in _FOREIGN:
            events = self.network.events
            seen = bool(events) and events[-1][1]
            self.lines.append([self.network.epoch, seen, record.getMessage()[:300]])


def run(candidate, script, arguments, pictures=False, checkpoints=False):
    """Train a scripted network, and tell all that was seen of it."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND"):
        os.environ.pop(name, None)
    matplotlib.rcParams.update({"figure.dpi": 50, "savefig.dpi": 50})  # small is fast
    network, folder = Network(script), Path(tempfile.mkdtemp(dir=".")) / "kept"
    drawn = _watch_drawing(really=pictures)
    before = network.frozen.detach().clone()
    root, lines = logging.getLogger(), _Lines(network)
    root.addHandler(lines)
    root.setLevel(logging.INFO)
    held = {}
    hook = register_optimizer_step_post_hook(lambda optimizer, *_: held.update(_held(optimizer)))
    result = _train(candidate, network, script, arguments | {"save_dir": str(folder)})
    hook.remove()
    root.removeHandler(lines)
    answer = _seen(network) | {
        "frozen_kept": bool(torch.equal(before, network.frozen.detach().cpu())),
        "held": len(held),
        "held_frozen": sum(not trained for trained in held.values()),
        "lines": lines.lines[:400],
        "result": _told_result(result),
        "files": sorted(path.name for path in folder.glob("*"))[:50],
    }
    if pictures:
        answer |= {"pictures": _pictures(folder), "drawn": drawn}
    if checkpoints:
        answer["checkpoints"] = _checkpoints(candidate, folder, script)
    return answer


def _watch_drawing(*, really):
    """Note the lines of each figure that is saved; where pictures do not matter, draw none."""
    draw, drawn = FigureCanvasBase.print_figure, []

    def print_figure(canvas, filename, *arguments, **options):
        axes = canvas.figure.axes
        drawn.extend(filter(None, (_numbers(line) for each in axes for line in each.lines)))
        matrix_alone = any(each.images for each in axes) and not any(each.lines for each in axes)
        if really and not matrix_alone:
            tracer = sys.gettrace()
            sys.settrace(None)  # nothing of the candidate's runs in there, and it costs a second
            draw(canvas, filename, *arguments, **options)
            sys.settrace(tracer)
        elif isinstance(filename, str | os.PathLike):
            Path(filename).touch()

    FigureCanvasBase.print_figure = print_figure
    return drawn


def _numbers(line):
    """Return the heights of a line, none if they are no finite numbers."""
    try:
        values = np.asarray(line.get_ydata(), dtype=float).ravel()[:200]
    except (TypeError, ValueError):
        return []
    return values.tolist() if np.isfinite(values).all() else []


def _train(candidate, network, script, arguments):
    train_model = candidate.training.train_model
    if "use_amp" in inspect.signature(train_model).parameters:
        arguments = {"use_amp": False} | arguments
    train = _loader(script["labels"], 0, script["batch"])
    validation = _loader(script["truth"], _FIRST_VALIDATION, script["validation_batch"])
    return train_model(network, train, validation, **arguments)


def _held(optimizer):
    """Return whether each parameter of an optimiser requires a gradient."""
    return {
        id(each): each.requires_grad for group in optimizer.param_groups for each in group["params"]
    }


def _loader(labels, first, batch):
    labels = torch.as_tensor(labels, dtype=torch.int64)
    images = torch.full((len(labels), 3, _SIDE, _SIDE), 0.5)
    images[:, 0, 0, 0] = (first + torch.arange(len(labels))) / _SCALE
    return DataLoader(TensorDataset(images, labels), batch_size=batch, shuffle=False)


def _seen(network):
    epochs, validation, modes, sizes, weights, stills, prints = zip(*network.events, strict=True)
    first = [each for epoch, each in network.received if epoch == 1]
    return {
        "epochs": list(epochs),
        "validation": list(validation),
        "training_mode": list(modes),
        "sizes": list(sizes),
        "weights": torch.stack(weights),  # calls×parameters
        "stills": torch.stack(stills),
        "prints": torch.stack(prints),
        "received": torch.cat(first) if first else torch.zeros(0),  # images×C, of the first epoch
    }


def _told_result(result):
    """Return the result as plain data, each value with the name of its type."""
    if not isinstance(result, dict):
        return {"type": type(result).__name__}
    history = result.get("history")
    rows = history if isinstance(history, list) else []
    return {
        "type": "dict",
        "history_type": type(history).__name__,
        "best_f1": _told(result.get("best_f1")),
        "total_time": _told(result.get("total_time")),
        "history": [_told_row(row) for row in rows[:200]],
    }


def _told_row(row):
    if not isinstance(row, dict):
        return {}
    return {str(name)[:40]: _told(value) for name, value in list(row.items())[:40]}


def _told(value):
    kind = type(value).__name__
    if isinstance(value, float):
        kind = "float"  # numpy's float64 is one
    try:
        number = float(value)
    except (TypeError, ValueError):
        return [kind, None]
    return [kind, number if np.isfinite(number) else None]


def _pictures(folder):
    """Return the files that are pictures, by name (H×W×3, uint8)."""
    found = {}
    for path in sorted(folder.rglob("*"))[:50]:
        picture = _picture(path)
        if picture is not None and len(found) < 6:
            found[path.name] = picture
    return found


def _picture(path):
    try:
        with Image.open(path) as image:
            image.load()
            image = image.convert("RGB")
    except (OSError, ValueError, SyntaxError):
        return None
    while image.width * image.height > _MAX_PIXELS:
        image = image.reduce(2)
    return np.asarray(image)


def _checkpoints(candidate, folder, script):
    """Load each file into a fresh network, and tell what came of it."""
    found = {}
    for path in [each for each in sorted(folder.rglob("*")) if each.is_file()][:20]:
        fresh = Network(script)
        with torch.no_grad():
            for parameter in fresh.parameters():
                parameter.add_(torch.randn_like(parameter))
        fresh.train()
        try:
            loaded = candidate.training.load_model(fresh, str(path), torch.device("cpu"))
        except Exception:  # of a picture, say: it is no checkpoint
            continue
        if isinstance(loaded, Network):
            devices = sorted({each.device.type for each in loaded.parameters()})
            modes = {each.training for each in loaded.modules()}
            found[path.name] = {
                "print": loaded.fingerprint(), "eval": modes == {False}, "devices": devices
            }  # fmt: skip
    return found


def losses(candidate, logits, labels, gammas):
    """Return value and gradient of the focal loss for each gamma; none if it has no such name."""
    make = _focal(candidate.training)
    if make is None:
        return {"found": False, "values": [], "gradients": []}
    values, gradients = [], []
    for gamma in gammas:
        leaf = torch.as_tensor(logits, dtype=torch.float32).clone().requires_grad_()
        value = make(gamma)(leaf, torch.as_tensor(labels, dtype=torch.int64))
        value.backward()
        values.append(value.detach().double().reshape(-1))
        gradients.append(leaf.grad.double())
    return {"found": True, "values": torch.cat(values), "gradients": torch.stack(gradients)}


def _focal(training):
    """Return what makes a loss of a gamma: from a class or a function with "focal" in its name."""
    named = [value for name, value in vars(training).items() if "focal" in name.lower()]
    classes = [each for each in named if inspect.isclass(each) and issubclass(each, nn.Module)]
    functions = [each for each in named if inspect.isfunction(each)]
    if classes:
        return lambda gamma: classes[0](gamma=gamma)
    if functions:
        return lambda gamma: partial(functions[0], gamma=gamma)
    return None


def curves(candidate, history, changes):
    """Draw a history, then with one column changed at a time; tell the shares of changed pixels."""
    matplotlib.rcParams.update({"figure.dpi": 50, "savefig.dpi": 50})  # small is fast
    draw = _drawing(candidate.training, history)
    if draw is None:
        return {"found": False, "changed": {}}
    plain, changed = draw(history), {}
    for name, values in changes.items():
        rows = [row | {name: value} for row, value in zip(history, values, strict=True)]
        picture = draw(rows)
        same = picture is not None and picture.shape == plain.shape
        changed[name] = float((picture != plain).any(-1).mean()) if same else 1.0
    return {"found": True, "changed": changed}


def _drawing(training, history):
    """Return what draws a history and returns the picture: any plot(history, path) will do."""
    named = [name for name, value in vars(training).items() if inspect.isfunction(value)]
    for name in sorted(
        (each for each in named if "plot" in each.lower()), key="plot_history".__ne__
    ):
        draw = partial(_drawn, getattr(training, name))
        try:
            if draw(history) is not None:
                return draw
        except Exception:  # it draws something else
            continue
    return None


def _drawn(plot, history):
    folder = Path(tempfile.mkdtemp(dir="."))
    plot([dict(row) for row in history], str(folder / "curves.png"))
    return next(iter(_pictures(folder).values()), None)
