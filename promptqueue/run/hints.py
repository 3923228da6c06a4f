"""What to do about an error, in a sentence: its name alone tells a small model too little."""

from __future__ import annotations

import re

_HINTS = (
    (r"partially initialized module '(\w+)'", "{0} imports itself: define the name there"),
    (
        r"name '(\w+)' is not defined|Undefined name `(\w+)`",
        "import {0} at the top of the file, or set it before it is used",
    ),
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
    (r"'NoneType' object", "something is None: a function that ends without return gives None"),
    (
        r"'\w+' object has no attribute '(\w+)'",
        "set self.{0} in __init__ if the class is in this file; else use only what the task names",
    ),
    (r"values to unpack", "return, and take, exactly as many values as the task writes"),
    (
        r'missing the required "forward" function',
        "forward must be indented, so that it stands inside the class",
    ),
)
"""Words of an error, and what usually mends it; the first that fits counts. None is about a task:
what the prompt asks for, it says itself."""


def hint_for(seen: str) -> str:
    """Return what usually mends an error, or nothing where nobody knows."""
    for pattern, hint in _HINTS:
        if match := re.search(pattern, seen):
            return hint.format(*filter(None, match.groups()))
    return ""
