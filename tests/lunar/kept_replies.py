"""A plugin of the trusted pytest: keeps what a candidate replied, and replies with that anew.

`KEPT` names the file; where it is there already, no code runs, and each question gets the reply
that was kept, whatever is asked this time.
"""

from __future__ import annotations

import os
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from promptqueue.verify import plugin
from promptqueue.verify.candidate import Candidate
from promptqueue.verify.sandbox import run

_FILE = Path(os.environ["KEPT"])
_replies: dict[tuple[str, int], Any] = {}
_asked: Counter[str] = Counter()


def pytest_configure() -> None:
    patch = pytest.MonkeyPatch()  # until the process ends
    if _FILE.exists():
        _replies.update(pickle.loads(_FILE.read_bytes()))
        patch.setattr(Candidate, "start", lambda _: None)
    patch.setattr(Candidate, "ask", _kept(Candidate.ask, lambda arguments: str(arguments[1])))
    patch.setattr(plugin, "run", _kept(run, lambda _: "the pipeline"))


def pytest_sessionfinish() -> None:
    _FILE.write_bytes(pickle.dumps(_replies))


def _kept(ask: Callable[..., Any], name_of: Callable[[tuple[Any, ...]], str]) -> Callable[..., Any]:
    def asked(*arguments: Any, **named: Any) -> Any:
        name = name_of(arguments)
        _asked[name] += 1
        place = (name, _asked[name])
        if place not in _replies:
            if _FILE.exists():
                pytest.fail(f"nothing was kept for {place}")
            _replies[place] = ask(*arguments, **named)
        return _replies[place]

    return asked
