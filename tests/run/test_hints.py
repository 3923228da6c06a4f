"""An error that small models make often comes with what mends it; the errors are Python's own."""

from __future__ import annotations

import pytest

from promptqueue.run.hints import hint_for


class Empty:
    def method(self, one: int) -> None: ...


ERRORS = (
    *(NameError, ImportError, AttributeError, TypeError, ValueError, ZeroDivisionError),
    *(KeyError, OSError, RuntimeError),
)
CASES = {
    "json": "add the line `import json` at the top of the file",
    "np": "add the line `import numpy as np` at the top of the file",
    "nothing": "nothing here sets nothing: set it before this line and in the same function, or "
    "import it, as the task says",
    "Nothing": "import Nothing at the top of the file, or define it there",
    "items = []; items['a']": "this is a list, which has no keys: loop over it, or use the dict "
    "that has them",
    "pair = 1, 2; pair['a']": "this is a tuple of several values: take them apart, "
    "one name for each",
    "from math import tau2": "tau2 does not exist there: use only what the task names",
    "import math; math.tau2": "tau2 does not exist there: use only what the task names",
    "import no_such": "there is no no_such: import only what the task names",
    "dict.fromkeys(key=1)": "",
    "sorted([], by=1)": "it has no argument by: call it exactly as the task writes it",
    "Empty().method(by=1)": "it has no argument by: call it exactly as the task writes it",
    "Empty().method()": "define and call it with exactly the arguments that the task writes",
    "Empty().method(1, 2)": "define and call it with exactly the arguments that the task writes",
    "Empty().method(1).size": "something is None: a function that ends without return gives None",
    "Empty().method(1)()": "something is None: a function that ends without return gives None",
    "Empty().size": "set self.size in __init__ if the class is in this file; else use only what "
    "the task names",
    "a, b = [1]": "return, and take, exactly as many values as the task writes",
    "a, b = [1, 2, 3]": "return, and take, exactly as many values as the task writes",
    "items = [1, 2]; items[[0]]": "a list takes one index; the items of several are "
    "[items[i] for i in indices]",
    "one = 1; one()": "this is int, no function: do not call it, and give no variable a "
    "function's name",
    "[].shape": "list has no shape: convert it first, or use what it has",
    "list(1)": "look at what this really is: a single value is no list",
    "import json; json.dumps({1, 2})": "convert set to what JSON has, by int(), float() or "
    ".tolist()",
    "open('/no_such/file', 'w')": "make a folder by os.makedirs(folder, exist_ok=True) before a "
    "file is written into it",
    "float([1])": "list is no number: take one item of it, or sum it up",
    "1 / 0": "say what comes out where the divisor is 0: a / b if b else what the task says",
    "{}['size']": "no size was put into that dict: give it the same key where it is made "
    "and where it is read",
    "(0).append(1)": "int has no append: the name must begin as an empty list, []",
    "int('x')": "",
}


@pytest.mark.parametrize("code", CASES)
def test_an_error_comes_with_what_mends_it(code: str) -> None:
    with pytest.raises(ERRORS) as raised:
        exec(code, {"Empty": Empty})

    assert hint_for(f"{type(raised.value).__name__}: {raised.value}") == CASES[code]


TORCH_CASES = {
    "nn.Linear(3, 2)(torch.zeros(2, 4))": "this Linear is made for 3 features and gets 4: flatten "
    "or pool what goes in as the task says, or make it for 4",
    "nn.Conv2d(3, 2, 1)(torch.zeros(1, 4, 5, 5))": "this layer is made for 3 channels and gets 4: "
    "give it what the task says, or make it for 4",
    "torch.zeros(3) + torch.zeros(4)": "make the two equal in shape before they are joined: look "
    "at the padding, the stride and the order of dimensions",
    "torch.cat([torch.zeros(1, 3), torch.zeros(2, 4)])": "make the two equal in shape before they "
    "are joined: look at the padding, the stride and the order of dimensions",
    "torch.cat([torch.tensor(1.0)])": "torch.cat joins tensors of one dimension and more: append() "
    "keeps a batch whole, extend() takes it apart",
    "torch.zeros(1).mean().backward()": "the loss must come from the model's output, not under "
    "no_grad and not detached",
    "torch.zeros(1, requires_grad=True).numpy()": "use .detach().cpu().numpy()",
    "float(torch.zeros(2))": "a tensor of many values is no number: reduce it first, by "
    ".sum().item() or .mean().item()",
    "1 if torch.zeros(2) else 0": "a tensor of many values is no number: reduce it first, by "
    ".sum().item() or .mean().item()",
    "torch.zeros(2)()": "this is Tensor, no function: do not call it, and give no variable a "
    "function's name",
    "torch.ones(2, requires_grad=True).backward()": "the loss must be one number: a criterion "
    "ends with .mean()",
    "nn.Module.__new__(nn.Module).a = nn.Linear(1, 1)": "call super().__init__() in the first "
    "line of __init__",
}


@pytest.mark.parametrize("code", TORCH_CASES)
def test_so_does_an_error_of_torch(code: str) -> None:
    torch = pytest.importorskip("torch")

    with pytest.raises(ERRORS) as raised:
        exec(code, {"torch": torch, "nn": torch.nn})

    assert hint_for(f"{type(raised.value).__name__}: {raised.value}") == TORCH_CASES[code]


@pytest.mark.parametrize(
    ("seen", "hint"),
    [
        (
            "ImportError: cannot import name 'split' from partially initialized module 'parts' "
            "(most likely due to a circular import)",
            "parts imports itself: define the name there",
        ),
        (
            'NotImplementedError: Module [Gate] is missing the required "forward" function',
            "forward must be indented, so that it stands inside the class",
        ),
        (
            "ruff: Undefined name `nn` (lines 1, 4)",
            "add the line `from torch import nn` at the top of the file",
        ),
        ("sigma 0.0210, 0.01 asked; largest value 1.000", ""),
    ],
)
def test_so_does_what_others_find(seen: str, hint: str) -> None:
    assert hint_for(seen) == hint


OUTSIDE = """\
def init_weights(self):
    for m in self.modules():
        if isinstance(m, nn.Linear):
            nn.init.zeros_(m.weight)
        if m.bias is not None:"""


@pytest.mark.parametrize(
    ("code", "start"),
    [
        (
            OUTSIDE,
            "m is ASPP here, which has no bias: "
            "write `if isinstance(m, nn.Linear) and m.bias is not None:`",
        ),
        (
            OUTSIDE.replace("if m.bias is not None:", "nn.init.zeros_(m.bias)"),
            "m is ASPP here, which has no bias: indent this line, so that it stands inside "
            "`if isinstance(m, nn.Linear):`",
        ),
        (OUTSIDE.replace("if isinstance(m, nn.Linear)", "if True"), "set self.bias in __init__"),
        (OUTSIDE.replace("if m.bias", "if self.bias"), "set self.bias in __init__"),
        (OUTSIDE.replace("m.bias", "bias_of(m)"), "set self.bias in __init__"),
        ("", "set self.bias in __init__"),
    ],
)
def test_a_line_outside_of_its_if_is_told_to_go_into_it(code: str, start: str) -> None:
    """Seen from the embedded model, which was told to set self.bias and sent the same again."""
    assert hint_for("AttributeError: 'ASPP' object has no attribute 'bias'", code).startswith(start)
