"""What to do about an error, in a sentence: its name alone tells a small model too little."""

from __future__ import annotations

import re

_UNDEFINED = r"name '(\w+)' is not defined|Undefined name `(\w+)`"
_MODULES = frozenset({
    *("argparse", "collections", "copy", "csv", "functools", "glob", "itertools", "json"),
    *("logging", "math", "os", "pathlib", "random", "re", "shutil", "subprocess", "sys"),
    *("tempfile", "time", "warnings", "torch", "torchvision", "numpy", "matplotlib", "PIL"),
})  # fmt: skip
_ALIASES = {
    "np": "import numpy as np",
    "pd": "import pandas as pd",
    "plt": "import matplotlib.pyplot as plt",
    "nn": "from torch import nn",
    "F": "from torch.nn import functional as F",
    "Path": "from pathlib import Path",
    "Image": "from PIL import Image",
}
"""Names that nobody gives to anything else."""
_HINTS = (
    (r"partially initialized module '(\w+)'", "{0} imports itself: define the name there"),
    (
        r"name '([a-z]\w*)' is not defined|Undefined name `([a-z]\w*)`",
        "nothing here sets {0}: set it before this line and in the same function, or import it, "
        "as the task says",
    ),
    (_UNDEFINED, "import {0} at the top of the file, or define it there"),
    (
        r"cannot import name '(\w+)'|module '[\w.]+' has no attribute '(\w+)'",
        "{0} does not exist there: use only what the task names",
    ),
    (r"No module named '([\w.]+)'", "there is no {0}: import only what the task names"),
    (
        r"unexpected keyword argument '(\w+)'|'(\w+)' is an invalid keyword argument",
        "it has no argument {0}: call it exactly as the task writes it",
    ),
    (
        r"missing \d+ required [\w-]+ arguments?|takes .*positional arguments? but",
        "define and call it with exactly the arguments that the task writes",
    ),
    (
        r"list indices must be integers or slices, not (?:list|tuple)",
        "a list takes one index; the items of several are [items[i] for i in indices]",
    ),
    (
        r"tuple indices must be integers or slices, not str",
        "this is a tuple of several values: take them apart, one name for each",
    ),
    (
        r"list indices must be integers or slices, not str",
        "this is a list, which has no keys: loop over it, or use the dict that has them",
    ),
    (r"'NoneType' object", "something is None: a function that ends without return gives None"),
    (
        r"'([\w.]+)' object is not callable",
        "this is {0}, no function: do not call it, and give no variable a function's name",
    ),
    (
        r"'(\w+)' object has no attribute '(append|extend)'",
        "{0} has no {1}: the name must begin as an empty list, []",
    ),
    (
        r"'(int|float|bool|str|list|tuple|dict|set|Tensor|[\w.]*ndarray)' object has no attribute "
        r"'(\w+)'",
        "{0} has no {1}: convert it first, or use what it has",
    ),
    (
        r"'\w+' object has no attribute '(\w+)'",
        "set self.{0} in __init__ if the class is in this file; else use only what the task names",
    ),
    (
        r"cannot assign module before Module\.__init__",
        "call super().__init__() in the first line of __init__",
    ),
    (
        r"mat1 and mat2 shapes cannot be multiplied \(\w+?x(\d+) and (\d+)x",
        "this Linear is made for {1} features and gets {0}: flatten or pool what goes in as the "
        "task says, or make it for {0}",
    ),
    (
        r"to have (\d+) channels, but got (\d+) channels",
        "this layer is made for {0} channels and gets {1}: give it what the task says, or make it "
        "for {1}",
    ),
    (
        r"[Ss]izes? of tensors? .*must match",
        "make the two equal in shape before they are joined: look at the padding, the stride and "
        "the order of dimensions",
    ),
    (
        r"Object of type (\w+) is not JSON serializable",
        "convert {0} to what JSON has, by int(), float() or .tolist()",
    ),
    (
        r"Boolean value of Tensor with more than one value|only one element tensors can be",
        "a tensor of many values is no number: reduce it first, by .sum().item() or .mean().item()",
    ),
    (
        r"(?:int|float)\(\) argument must be .* not '(list|tuple|dict)'",
        "{0} is no number: take one item of it, or sum it up",
    ),
    (
        r"FileNotFoundError",
        "make a folder by os.makedirs(folder, exist_ok=True) before a file is written into it",
    ),
    (
        r"zero-dimensional tensor .*cannot be concatenated",
        "torch.cat joins tensors of one dimension and more: append() keeps a batch whole, extend() "
        "takes it apart",
    ),
    (
        r"KeyError: '(\w+)'",
        "no {0} was put into that dict: give it the same key where it is made and where it is read",
    ),
    (
        r"ZeroDivisionError",
        "say what comes out where the divisor is 0: a / b if b else what the task says",
    ),
    (
        r"does not require grad and does not have a grad_fn",
        "the loss must come from the model's output, not under no_grad and not detached",
    ),
    (
        r"grad can be implicitly created only for scalar outputs",
        "the loss must be one number: a criterion ends with .mean()",
    ),
    (r"Can't call numpy\(\) on Tensor that requires grad", "use .detach().cpu().numpy()"),
    (
        r"is not iterable|is not subscriptable",
        "look at what this really is: a single value is no list",
    ),
    (r"values to unpack", "return, and take, exactly as many values as the task writes"),
    (
        r'missing the required "forward" function',
        "forward must be indented, so that it stands inside the class",
    ),
)
"""Words of an error, and what usually mends it; the first that fits counts. None is about a task:
what the prompt asks for, it says itself."""


def _outside_of_its_if(seen: str, code: str) -> str:
    """Return what to do where a line asks of every object what only those of a type have."""
    lacks = re.search(r"'(\w+)' object has no attribute '(\w+)'", seen)
    if not lacks:
        return ""
    line = code.rpartition("\n")[2].strip()
    owner = re.search(rf"\b(\w+)\.{lacks[2]}\b", line)
    guard = owner and re.search(rf"\bif (isinstance\({owner[1]}, .*\)):", code)
    if not owner or not guard:
        return ""
    condition = re.fullmatch(r"if (.+):", line)
    return f"{owner[1]} is {lacks[1]} here, which has no {lacks[2]}: " + (
        f"write `if {guard[1]} and {condition[1]}:`"  # what is to be copied beats what to do
        if condition
        else f"indent this line, so that it stands inside `if {guard[1]}:`"
    )


def undefined_in(seen: str) -> str:
    """Return the name that an error misses, or nothing."""
    match = re.search(_UNDEFINED, seen)
    return (match[1] or match[2]) if match else ""


def import_for(seen: str) -> str:
    """Return the line that brings a name which an error misses, or nothing where nobody knows."""
    name = undefined_in(seen)
    return f"import {name}" if name in _MODULES else _ALIASES.get(name, "")


def hint_for(seen: str, code: str = "") -> str:
    """Return what usually mends an error, or nothing where nobody knows.

    Args:
        seen: the error.
        code: the function that it came up in, down to its line, where they are known.
    """
    if line := import_for(seen):
        return f"add the line `{line}` at the top of the file"
    if hint := _outside_of_its_if(seen, code):
        return hint
    for pattern, hint in _HINTS:
        if match := re.search(pattern, seen):
            return hint.format(*filter(None, match.groups()))
    return ""
