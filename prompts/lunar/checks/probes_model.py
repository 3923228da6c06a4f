"""Travels into the sandbox: what create_model's network does, watched while it runs.

No name of a class or attribute is presumed: the stages of the ResNet-50 are found by the shapes of
their weights, everything else by the functions of torch that a forward pass calls.
"""

import contextlib
import hashlib
import sys
from unittest import mock

import torch
import torchvision
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode

SIDES = (64, 256)  # px: small images where the model takes them
STAGES = ("stem", "layer1", "layer2", "layer3", "layer4")
CONV2D = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
PRODUCTS = ("mul", "mul_", "__mul__", "__rmul__", "__imul__", "multiply")
DROPOUTS = ("dropout", "dropout1d", "dropout2d", "alpha_dropout", "feature_alpha_dropout")
ATTENTION = {"multi_head_attention_forward": 10, "scaled_dot_product_attention": 4}
"""Name to place of its dropout_p: what it drops inside, no call of ours sees."""
MAPS = ("linear", "conv1d", "conv2d", "matmul", "__matmul__", "einsum", "addmm", "mm", "bmm")
"""What a linear layer, or a product with the weights of attention, may be written with."""
BENDS = (
    *("gelu", "relu", "relu_", "relu6", "leaky_relu", "prelu", "elu", "selu", "celu", "silu"),
    *("mish", "hardswish", "softplus", "glu", "tanh", "sigmoid", "erf", "clamp", "maximum"),
)
"""What an MLP may have between its two linear layers."""
IN_PLACE = ("mul_", "__imul__")
SIZES = ((3, 3, 256, 256), (1, 3, 512, 512))
REACH = 55  # cells of the map that an impulse is put into: dilation 18 stays within
BLOCK = 65_521  # numbers; a prime, so that no two rows of weights become the same
DRAWS = ("normal_", "uniform_", "kaiming_uniform_")

torch.set_num_threads(1)  # two threads that wait for each other on a busy machine take minutes


# ------------------------------------------------------------------ questions


def pyramid(candidate):
    """Return every dilated 3×3 convolution that ran: number of its input, taps, if it matters."""
    model = _model(candidate)
    calls, logits = _watched(model)
    dilated = [c for c in calls if c.is_conv and _is_dilated(c.conv)]
    grads = torch.autograd.grad(
        _mixed(logits), [c.conv["weight"] for c in dilated], allow_unused=True
    )
    found, inputs = [], []
    for call, grad in zip(dilated, grads, strict=True):
        same = [n for n, x in enumerate(inputs) if _equal(x, call.conv["input"])]
        inputs.append(call.conv["input"])
        found.append(
            {"input": same[0] if same else len(inputs) - 1, "matters": _is_alive(grad)}
            | _taps(call)
        )
    return {"convolutions": found}


def blocks(candidate):
    """Return what attends, what its block has beside it, and how far one output sees."""
    model = _model(candidate)
    calls, logits = _watched(model)
    heads = [c for c in calls if c.tokens]
    visits = [
        next((v for v in c.stack if sum(v in other.stack for other in heads) == 1), None)
        for c in heads
    ]
    return {
        "attentions": [
            {
                "tokens": call.tokens,
                "width": call.width,
                "matters": _depends(logits, [call.output]),
                "block": visit and [*model.modules()].index(visit.module),
            }
            | _carried(visit)
            | _beside(model, calls, call)
            for call, visit in zip(heads, visits, strict=True)
        ]
    }


def skip(candidate):
    """Return whether layer2's output reaches the logits beside layer3, and the masks it meets."""
    model = _model(candidate)
    stages = _stages(model)
    if not (stages["layer2"] and stages["layer3"]):
        return {"found": False}
    return {"found": True} | _masks(model, stages)


def stages(candidate):
    """Return which stages are there, and how much the logits change with each one's weights."""
    fetched, moved = [], {}
    model = _model(candidate, fetched)
    found, before = _stages(model), _run(model)
    for name in filter(found.get, found):
        with torch.no_grad():
            found[name][0].weight.neg_()
        after = _run(model)
        moved[name] = float((after - before).abs().max() / before.abs().max())
        before = after
    return {"moved": moved, "fetched": len(fetched)}


def pretrained(candidate, value):
    """Return what is in the backbone if torchvision's weights are all `value`, and who fetched."""
    fetched = []
    model = _created(candidate, fetched, value, pretrained=True)
    convs = [m.weight for s in _stages(model).values() for m in s or () if m.weight.ndim == 4]
    return {"fetched": len(fetched), "held": [[float(w.min()), float(w.max())] for w in convs]}


def training_step(candidate):
    """Return what one step of AdamW over all trainable parameters moves, and what train() does."""
    model = _in_mode(_created(candidate), True)
    found = _stages(model, by_name=True)
    new = _new_norms(model, found)
    before, norms_before = _states(found), [_state([m]) for m in new]
    calls = _step(model)
    after, norms_after = _states(found), [_state([m]) for m in new]
    model.eval()
    _run(_in_mode(model, True), seed=1)
    again = _states(found)
    return {
        "trainable": {
            name: sum(p.requires_grad for m in leaves for p in m.parameters())
            for name, leaves in found.items()
            if leaves
        },
        "step": {name: _changed(before[name], after[name]) for name in before},
        "modes": {name: _changed(after[name], again[name]) for name in before},
        "norms": [_changed(*pair) for pair in zip(norms_before, norms_after, strict=True)],
        "bare": _bare(calls, found),
    }


def _step(model):
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trainable, lr=0.01, weight_decay=0.1)
    calls, logits = _watched(model)
    nn.functional.cross_entropy(logits, torch.tensor([0, 1])).backward()
    optimiser.step()
    return calls


def dropout(candidate, probability):
    """Return the shares of zeros that dropout made, in train and in eval mode."""
    chosen = {} if probability is None else {"dropout_prob": probability}
    model = _created(candidate, **chosen)
    calls, _ = _watched(_in_mode(model, True), grad=False)
    first = next((n for n, c in enumerate(calls) if c.tokens), None)
    shares = [
        {"share": c.zeros, "in_blocks": first is not None and n >= first}
        for n, c in enumerate(calls)
        if c.zeros is not None
    ]
    last = [c for c in calls if c.name == "linear"][-1:]
    before_head = [
        c.zeros
        for c in calls
        if c.zeros is not None and last and _equal(c.output, last[0].inputs[0])
    ]
    runs = [_run(_in_mode(model, mode), seed) for mode in (True, False) for seed in (1, 2)]
    return {
        "shares": shares,
        "before_head": before_head,
        "attends": first is not None,
        "train_differs": not torch.equal(runs[0], runs[1]),
        "eval_differs": not torch.equal(runs[2], runs[3]),
    }


def samples(candidate, count):
    """Return a sample of each new layer's weights, with its shape and the size of its bias."""
    model = _created(candidate, drawing=Tolerant)
    known = {id(m) for leaves in _stages(model, by_name=True).values() for m in leaves or ()}
    layers = [
        (n, m)
        for n, m in model.named_modules()
        if isinstance(m, nn.Conv2d | nn.Linear)
        and id(m) not in known
        and tuple(m.weight.shape) != (1000, 2048)
    ]
    return {"layers": [_sample(name, module, count) for name, module in layers]}


def sizes(candidate, kind, classes):
    """Return logits of one image of 256 px, and the shapes for other sizes, here and on a GPU."""
    with _weights(0.01, []):
        model = _in_mode(_module(candidate.model.create_model(kind, num_classes=classes)), False)
    with torch.no_grad():
        logits = model(torch.rand(1, 3, 256, 256))
    told = {name: shape for name, shape in _shapes(model, SIZES).items() if isinstance(shape, list)}
    gpu = _shapes(model, [size for size in SIZES if _name(size) in told][-1:], "cuda")
    return {"logits": logits, "here": _computed(model, told) | told, "gpu": gpu}


def _computed(model, known):
    """Return the shapes that could not be told without computing, as they hang on values."""
    with torch.no_grad():
        return {_name(s): _shape(model, torch.rand(s)) for s in SIZES if _name(s) not in known}


# ------------------------------------------------------------------ the model


def _model(candidate, fetched=None):
    """Return a model in eval mode in which nothing is zero or one throughout, as after training."""
    model = _in_mode(_created(candidate, fetched), False)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.min() == parameter.max():
                parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def _created(candidate, fetched=None, value=0.01, drawing=None, **arguments):
    with _weights(value, [] if fetched is None else fetched), (drawing or Hasty)():
        model = candidate.model.create_model("hybrid", **arguments)
    return _module(model)


def _module(model):
    """Return a model; say in words what would be a riddle further on."""
    assert isinstance(model, nn.Module), f"create_model returned {type(model).__name__}"
    return model


def _in_mode(model, training):
    """Return the model; what its own train() returns, no prompt asks for."""
    model.train(training)
    return model


class Tolerant(TorchFunctionMode):
    """Takes a wish for a GPU as one for the CPU: which device is asked for, only `sizes` judges."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.cuda:
            return args[0]
        named = {name: _on_cpu(value) for name, value in (kwargs or {}).items()}
        return func(*map(_on_cpu, args), **named)


class Hasty(Tolerant):
    """Draws a part of large weights and repeats it: to draw 55 million numbers takes a second."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        named = dict(kwargs or {})
        weights = named.pop("tensor", None) if not args else args[0]
        is_draw = getattr(func, "__name__", "") in DRAWS and isinstance(weights, torch.Tensor)
        if not is_draw or weights.numel() <= BLOCK or not weights.is_contiguous():
            return super().__torch_function__(func, types, args, kwargs)
        rows = weights.detach()[: 1 + BLOCK // weights[0].numel()]  # their fan_in is the same
        func(rows, *args[1:], **named)
        block, flat = rows.flatten()[:BLOCK].clone(), weights.detach().view(-1)
        for start in range(0, len(flat), BLOCK):
            flat[start : start + BLOCK] = block[: len(flat) - start]
        return weights


def _on_cpu(value):
    is_gpu = isinstance(value, str | torch.device) and str(value).startswith("cuda")
    return torch.device("cpu") if is_gpu else value


@contextlib.contextmanager
def _weights(value, fetched):
    """Hand out a ResNet-50 of one value throughout instead of a download, and note who fetches."""

    def download(url, *_, **__):
        fetched.append(str(url))
        state = _resnet().state_dict()
        return {name: torch.full(t.shape, value).to(t.dtype) for name, t in state.items()}

    with (
        mock.patch.object(torch.hub, "load_state_dict_from_url", download),
        mock.patch.object(torchvision.models._api, "load_state_dict_from_url", download),
    ):
        yield


def _resnet():
    with torch.device("meta"):
        return torchvision.models.resnet50()


def _stages(model, *, by_name=False):
    """Return the convolutions and norms of each stage, found by shape; None where there is none."""
    asked = _resnet()
    patterns = {"stem": [asked.conv1, asked.bn1]}
    patterns |= {name: _leaves(getattr(asked, name)) for name in STAGES[1:]}
    there = _leaves(model)
    found = {name: _run_of(pattern, there) for name, pattern in patterns.items()}
    if by_name:  # another ResNet than asked for, say: a fault of the backbone only
        found |= {n: _named(model, n) for n, leaves in found.items() if not leaves}
    return found


def _leaves(module):
    """Return what has weights as convolutions and norms do, in the order of registration."""
    weighty = [m for m in module.modules() if isinstance(getattr(m, "weight", None), torch.Tensor)]
    return [m for m in weighty if m.weight.ndim in (1, 4)]


def _run_of(pattern, there):
    shapes, asked = [m.weight.shape for m in there], [m.weight.shape for m in pattern]
    for start in range(len(shapes)):
        end = start + len(asked)
        if shapes[start:end] == asked and (len(asked) < 6 or shapes[end : end + 6] != asked[-6:]):
            return there[start:end]
    return None


def _named(model, stage):
    names = ("conv1", "bn1") if stage == "stem" else (stage,)
    parts = [
        next((m for n, m in model.named_modules() if n.split(".")[-1] == name), None)
        for name in names
    ]
    return [leaf for part in parts if part is not None for leaf in _leaves(part)] or None


# ------------------------------------------------------------------ watching


class Call:
    """One call of a function of torch."""

    def __init__(self, function, args, kwargs, stack):
        self.function, self.name, self.stack = function, getattr(function, "__name__", ""), stack
        self.inputs = [x for x in (*args, *kwargs.values()) if isinstance(x, torch.Tensor)]
        self.conv = dict(zip(CONV2D, args, strict=False)) | kwargs if self.is_conv else {}
        self.tokens, self.width, self.zeros, self.output = None, None, None, None
        self.kwargs = kwargs

    @property
    def is_conv(self):
        return self.name == "conv2d"

    def ended(self, output, args, before):
        """Note what came out: how many tokens attend to each other, what share became zero."""
        self.output = output[0] if self.name == "multi_head_attention_forward" else output
        if self.name == "multi_head_attention_forward":
            self.tokens, self.width = args[0].shape[0], args[0].shape[-1]
        elif self.name == "scaled_dot_product_attention":
            query = self.inputs[0]
            self.tokens = query.shape[-2]
            self.width = query.shape[-1] * query.shape[1] if query.ndim == 4 else None
        elif self.name == "softmax" and output.ndim > 2 and output.shape[-1] == output.shape[-2]:
            self.tokens = output.shape[-1]
        if before is not None:
            alive = before != 0
            self.zeros = float(((output == 0) & alive).sum() / alive.sum().clamp(min=1))
        elif self.name in ATTENTION and self.kwargs.get("training", True):
            place = ATTENTION[self.name]
            dropped = self.kwargs.get("dropout_p", args[place] if len(args) > place else 0)
            self.zeros = float(dropped) or None


class Watch(Tolerant):
    """Notes every call; `replace(number, call, output)` may put another output in its place."""

    def __init__(self, stack=(), replace=None, feed=None):
        super().__init__()
        self.calls, self.stack, self.replace, self.feed = [], stack, replace, feed

    def __torch_function__(self, func, types, args=(), kwargs=None):
        call = Call(func, args, kwargs or {}, tuple(self.stack))
        before = args[0].detach().clone() if call.name in DROPOUTS else None
        if call.name in IN_PLACE:  # in place: keep what was there
            call.inputs[0] = args[0].clone()
        if self.feed and call.is_conv:
            args = self.feed(call, args)
        output = super().__torch_function__(func, types, args, kwargs)
        if isinstance(output, torch.Tensor | tuple) and self.replace:
            output = self.replace(len(self.calls), output)
        call.ended(output, args, before)
        self.calls.append(call)
        return output


class Visit:
    """One call of a module."""

    def __init__(self, module, args, kwargs):
        self.module, self.args, self.kwargs = module, args, kwargs


def _watched(model, *, grad=True, **watching):
    """Run the model once on two images; return the calls and the logits."""
    stack = []
    hooks = [
        hook
        for module in model.modules()
        for hook in (
            module.register_forward_pre_hook(
                lambda module, args, kwargs: stack.append(Visit(module, args, kwargs)),
                with_kwargs=True,
            ),
            module.register_forward_hook(lambda *_: void(stack.pop())),
        )
    ]

    def once(images):
        stack.clear()
        with Watch(stack, **watching) as watch, torch.set_grad_enabled(grad):
            return watch.calls, model(images)

    try:
        return _on_images(once)
    finally:
        for hook in hooks:
            hook.remove()


def void(_):
    """Return nothing: what a hook returns would replace the output."""


def _run(model, seed=0):
    with torch.no_grad(), Tolerant():
        return _on_images(model, seed)


def _on_images(work, seed=0):
    """Call `work` with two small images, or with the promised size if it takes no small ones."""
    for side in SIDES:
        torch.manual_seed(0)
        images = torch.rand(2, 3, side, side)
        torch.manual_seed(seed)
        try:
            return work(images)
        except Exception:
            if side == SIDES[-1]:
                raise
    raise AssertionError


# ------------------------------------------------------------------ what follows from it


def _is_dilated(conv):
    return conv["weight"].shape[2:] == (3, 3) and _pair(conv.get("dilation", 1)) != (1, 1)


def _pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def _taps(call):
    """Return how far from an impulse a convolution answers, along rows and columns."""
    weight, groups = call.conv["weight"].detach(), call.conv.get("groups", 1)
    dilation, far = _pair(call.conv.get("dilation", 1)), {}
    for name, shape in (("columns", (1, REACH)), ("rows", (REACH, 1))):
        impulse = torch.zeros(1, weight.shape[1] * groups, *shape)
        impulse[..., shape[0] // 2, shape[1] // 2] = 1
        answer = call.function(impulse, weight, None, 1, dilation, dilation, groups)
        heard = answer.abs().sum((0, 1)).flatten().nonzero().flatten()
        far[name] = sorted({abs(int(n) - REACH // 2) for n in heard})
    return far


def _carried(visit):
    """Return how many positions of a block's input one position of its output depends on."""
    nothing = {"inner_width": None, "reached": None, "positions": None}
    if visit is None or not visit.args or not isinstance(visit.args[0], torch.Tensor):
        return nothing
    tokens = torch.randn(visit.args[0].shape, requires_grad=True)
    own = visit.args[0]  # a bare attention gets it thrice
    args = [tokens if each is own else each for each in visit.args]
    output = visit.module(*args, **visit.kwargs)
    output = output[0] if isinstance(output, tuple) else output
    if tokens.ndim not in (3, 4) or output.shape != tokens.shape:
        return nothing
    channels = -1 if tokens.ndim == 3 else 1  # B×N×C or N×B×C, or a map B×C×h×w
    first = output.movedim(channels, -1).flatten(0, -2)[0]
    (grad,) = torch.autograd.grad(_mixed(first), tokens)
    width = tokens.shape[channels]
    reached = int((grad.movedim(channels, -1).flatten(0, -2).abs().sum(-1) > 0).sum())
    return {"inner_width": width, "reached": reached, "positions": tokens.numel() // width // 2}


def _beside(model, calls, head):
    """Return whether an MLP follows what attends, and whether both are added to what went in.

    They are if the logits depend on what went in even where the two return what they did before,
    whatever they get. Nothing hangs on modules here: a block may be a function.
    """
    start = calls.index(head)
    same = (n for n, c in enumerate(calls) if n > start and c.tokens == head.tokens)
    end = next(same, len(calls))
    maps = [n for n in range(start + 1, end) if calls[n].name in MAPS]
    first = maps[0] if maps else start
    bend = next((n for n in range(first + 1, end) if calls[n].name in BENDS), end)
    last = next((n for n in maps if n > bend), None)
    attended = start if head.name in ATTENTION else first
    entry = next((n for n in range(start, -1, -1) if _leads(calls[n], head)), None)

    def replace(number, output):
        return _held(output) if number in (attended, last) else output

    again, logits = _watched(model, replace=replace)
    added = entry is None or _depends(logits, [again[entry].output])
    return {"mlp": last is not None, "added": added}


def _leads(call, head):
    return call.is_conv and call.output.requires_grad and _depends(head.output, [call.output])


def _held(output):
    """Return an output as a constant; of several, the first."""
    if isinstance(output, tuple):
        return (output[0].detach(), *output[1:])
    return output.detach()


def _masks(model, found):
    """Cut layer3 off from layer2's output, and return what that output is multiplied by."""
    entries = {id(m.weight) for m in found["layer3"] if m.weight.shape[1:2] == (512,)}

    def enters(call):
        return call.is_conv and id(call.conv["weight"]) in entries

    calls, _ = _watched(model, grad=False)
    entry = next((c.conv["input"] for c in calls if enters(c)), None)
    origin = max((n for n, c in enumerate(calls) if c.output is entry), default=None)
    if origin is None:
        return {"joins": False, "products": []}
    ends = {}

    def replace(number, output):
        if number == origin:
            ends["skip"], ends["main"] = (output.detach().clone().requires_grad_() for _ in "12")
        return ends["skip"] if number == origin else output

    calls, logits = _watched(
        model,
        replace=replace,
        feed=lambda call, args: (ends["main"], *args[1:]) if enters(call) else args,
    )
    if not _depends(logits, [ends["skip"]]):
        return {"joins": False, "products": []}
    known = {id(p) for leaves in found.values() for m in leaves or () for p in m.parameters()}
    new = [p for p in model.parameters() if p.requires_grad and id(p) not in known]
    return {
        "joins": True,
        "products": [
            _product(mask, new)
            for call in calls
            for feature, mask in _factors(call)
            if _depends(feature, [ends["skip"]])
            and not _depends(feature, [ends["main"]])
            and _depends(logits, [call.output])
        ],
    }


def _factors(call):
    """Return the pairs of feature and factor that a call multiplies, in either order."""
    if call.name == "glu":
        value, gate = call.inputs[0].chunk(2, dim=call.kwargs.get("dim", -1))
        return [(value, gate.sigmoid())]
    if call.name not in PRODUCTS or len(call.inputs) != 2 or min(map(torch.numel, call.inputs)) < 2:
        return []
    return [(call.inputs[0], call.inputs[1]), (call.inputs[1], call.inputs[0])]


def _product(mask, new):
    return {
        "low": mask.min().item(),
        "high": float(mask.max()),
        "differs": mask.shape[0] == 2 and not _equal(mask[0], mask[1]),
        "learned": _depends(mask, new),
    }


def _depends(output, inputs):
    if not output.requires_grad:
        return False
    grads = torch.autograd.grad(_mixed(output), inputs, retain_graph=True, allow_unused=True)
    return any(map(_is_alive, grads))


def _mixed(tensor):
    """Return a number that depends on every element, each in its own way."""
    return (tensor * torch.rand_like(tensor.detach())).sum()


def _is_alive(grad):
    return grad is not None and bool((grad != 0).any())


def _equal(first, second):
    return first is second or (first.shape == second.shape and torch.equal(first, second))


def _states(found):
    return {name: _state(leaves) for name, leaves in found.items() if leaves}


def _state(leaves):
    """Return digests of the parameters and of the running statistics, byte by byte."""
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    tensors = [
        (name.rpartition(".")[2] in statistics, tensor)
        for leaf in leaves
        for name, tensor in leaf.state_dict().items()
    ]
    digests = [
        (is_statistic, hashlib.blake2b(tensor.detach().numpy().tobytes()).digest())
        for is_statistic, tensor in tensors
    ]
    return {
        "weights": [digest for is_statistic, digest in digests if not is_statistic],
        "statistics": [digest for is_statistic, digest in digests if is_statistic],
    }


def _changed(before, after):
    """Return how many of the tensors changed, by kind."""
    return {
        kind: sum(a != b for a, b in zip(before[kind], after[kind], strict=True)) for kind in before
    }


def _new_norms(model, found):
    known = {id(m) for leaves in found.values() for m in leaves or ()}
    return [
        m
        for m in model.modules()
        if isinstance(m, nn.modules.batchnorm._BatchNorm) and id(m) not in known
    ]


def _bare(calls, found):
    """Return the shapes of new convolutions without batch norm: of 3×3 ones and of joined maps."""
    known = {id(m.weight) for leaves in found.values() for m in leaves or ()}
    normed = {id(c.inputs[0]) for c in calls if c.name == "batch_norm"}
    joined = {id(c.output) for c in calls if c.name in ("cat", "concat", "concatenate")}
    convs = [
        c
        for c in calls
        if c.is_conv
        and id(c.conv["weight"]) not in known
        and (c.conv["weight"].shape[-1] > 1 or id(c.conv["input"]) in joined)
    ]
    return [list(c.conv["weight"].shape) for c in convs if id(c.output) not in normed]


def _sample(name, module, count):
    weights = module.weight.detach().flatten()
    chosen = torch.randperm(len(weights))[:count]
    bias = 0.0 if module.bias is None else float(module.bias.detach().abs().max())
    return {"name": name, "shape": [*module.weight.shape], "weights": weights[chosen], "bias": bias}


def _shapes(model, sizes, device="cpu"):
    """Return the shapes of the logits as on `device`, without computing them: no GPU is needed."""
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    sys.settrace(None)  # millions of calls, and the lines were seen when the logits were computed
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        model.to(device)
        return {_name(size): _shape(model, torch.rand(size, device=device)) for size in sizes}


def _name(size):
    return "×".join(map(str, size))


def _shape(model, images):
    try:
        return [*model(images).shape]
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]
