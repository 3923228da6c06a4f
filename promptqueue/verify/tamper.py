"""Travels into the sandbox: tells which functions of other libraries the candidate replaced.

A warning light, not a proof. It imports nothing of promptqueue.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

WATCHED = (
    *("builtins.abs", "builtins.len", "builtins.sum", "builtins.isinstance", "builtins.open"),
    *("math.sqrt", "math.isfinite", "json.dumps", "json.loads", "os.write", "time.time"),
    *("numpy.allclose", "numpy.array_equal", "numpy.isfinite", "numpy.asarray", "random.random"),
    *("torch.allclose", "torch.equal", "torch.isfinite", "torch.tensor", "torch.manual_seed"),
    *("torch.nn.Module.__call__", "torch.nn.Module.named_parameters", "torch.nn.Module.train"),
    *("torch.nn.functional.conv2d", "torch.nn.functional.cross_entropy", "torch.save"),
    *("torch.testing.assert_close", "torch.Tensor.backward", "torch.optim.AdamW.step"),
)
"""What a module has no reason to replace."""


def changed_since(before: Mapping[str, int]) -> list[str]:
    """Return the names whose functions are others than they were."""
    return sorted(name for name, each in identities().items() if before.get(name, each) != each)


def identities() -> dict[str, int]:
    """Return which functions the names stand for now."""
    found = {}
    for dotted in WATCHED:
        package, _, _ = dotted.partition(".")
        value: Any = sys.modules.get(package)
        for part in dotted.split(".")[1:]:
            value = getattr(value, part, None)
        if value is not None:
            found[dotted] = id(value)
    return found
