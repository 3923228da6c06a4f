"""Runs ruff on generated code, deaf to whatever configuration or noqa the code brings along."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from shutil import which
from typing import IO, Any, Literal, cast

from promptqueue.errors import UsageError
from promptqueue.extras import install_command
from promptqueue.verify.annotations import Unevaluated
from promptqueue.verify.lint import one_line
from promptqueue.verify.report import Finding

FATAL = (
    *("E9", "F633", "F701", "F702", "F704", "F706", "F707", "F82"),
    *("PLE0100", "PLE0115", "PLE0117", "PLE0118", "PLE0237", "PLE0241", "PLE0302"),
    *("PLE0303", "PLE0304", "PLE0305", "PLE0307", "PLE0308", "PLE0309"),  # what __len__ … return
    *("PLE0643", "PLE1132", "PLE1142", "PLE1300", "PLE1307", "PLE1507", "PLE1700"),
)
"""Code that cannot run as it stands: it does not parse, returns outside of a function, uses names
that nothing defines, or does what always raises an exception."""
STYLE = ("F", "E7", "B", "W6", "PLE")
"""Likely mistakes, such as unused imports and mutable defaults: shown, and nothing turns red."""
_OFF = ("E701", "E702", "E741", "B905")
"""Taste."""
Severity = Literal["error", "warning"]
_TIME_S = 60
_MOST, _MOST_BYTES = 1000, 4 << 20
"""Problems, and bytes of them, that are read: nobody reads more, and 16 KiB can have 16,000."""


def _version() -> str:
    """Return the Python that will run the code, as far as every ruff that we take knows it."""
    return f"py3{min(sys.version_info.minor, 13)}"


def ruff_findings(folder: Path) -> Iterator[Finding]:
    """Yield what ruff finds below `folder`, by file and line.

    Raises:
        UsageError: ruff is not installed.
    """
    # one after the other, so that no flood of what is only shown hides what is red
    fatal = _found(folder, FATAL, _OFF, "error")
    style = _found(folder, STYLE, (*_OFF, *FATAL), "warning")
    found = [*fatal, *style]
    placed = [each for each in found if each.path]
    yield from sorted(placed, key=lambda each: (each.path, each.line, each.rule, each.message))
    yield from dict.fromkeys(each for each in found if not each.path)  # of ruff itself, and once


def _found(
    folder: Path, rules: Sequence[str], off: Sequence[str], severity: Severity
) -> list[Finding]:
    """Return the findings of some rules that are so severe, as many as anybody reads."""
    command = [
        *(_ruff(), "check", "--isolated", "--ignore-noqa", "--no-cache", "--quiet"),
        *("--exit-zero", "--output-format", "json-lines", "--target-version", _version()),
        *("--config", "exclude=[]"),  # a declared file may lie in a folder called build
        *("--select", ",".join(rules), "--ignore", ",".join(off), "."),
    ]
    told = _told(command, folder)
    if told is None:
        words = f"the files keep ruff busy for more than {_TIME_S} s"
        return [Finding("ruff", words, severity="error")]
    root, lines = folder.resolve(), told.splitlines(keepends=True)
    unevaluated = functools.cache(lambda path: Unevaluated((root / path).read_text("utf-8")))
    whole = [line for line in lines[:_MOST] if line.endswith(b"\n")]
    found = [_finding(json.loads(line), root, unevaluated) for line in whole]
    if severity == "warning":  # what does not parse is among both
        found = [each for each in found if each.severity == severity]
    if len(whole) < len(lines) or len(told) == _MOST_BYTES:
        words = f"too many problems: {len(whole):,} are told, and there are more"
        found.append(Finding("ruff", words, severity=severity))
    return found


def _told(command: Sequence[str], folder: Path) -> bytes | None:
    """Return what ruff prints, or only its beginning; None if it takes too long."""
    kept = {"PATH": os.environ.get("PATH", "")}
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command, cwd=folder, env=kept, stdout=subprocess.PIPE, stderr=errors
        ) as ruff,
    ):
        late = threading.Timer(_TIME_S, ruff.kill)
        late.start()
        told = cast(IO[bytes], ruff.stdout).read(_MOST_BYTES)
        if len(told) == _MOST_BYTES:
            ruff.kill()
        code = ruff.wait()
        late.cancel()
        if code and code != -signal.SIGKILL:
            errors.seek(0)
            raise UsageError(f"ruff failed: {errors.read(500).decode(errors='replace').strip()}")
    return told if code == 0 or len(told) == _MOST_BYTES else None


def _finding(
    entry: dict[str, Any], folder: Path, unevaluated: Callable[[str], Unevaluated]
) -> Finding:
    path = Path(str(entry["filename"])).resolve().relative_to(folder).as_posix()
    place = entry["location"] or {"row": 0, "column": 0}
    line = int(place["row"])
    rule = str(entry["code"] or "E999")
    message = one_line(str(entry["message"]))  # it quotes the code
    fatal = rule.startswith(FATAL) or rule in ("E999", "invalid-syntax")
    if rule == "F821" and (line, int(place["column"])) in unevaluated(path):
        fatal = False
    severity = "error" if fatal else "warning"
    return Finding("ruff", message, path, line, rule, severity)  # type: ignore[arg-type]


def _ruff() -> str:
    """Return the ruff beside this interpreter, or the first on the path."""
    beside = Path(sysconfig.get_path("scripts")) / "ruff"
    found = str(beside) if beside.exists() else which("ruff")
    if found is None:
        raise UsageError(f"ruff is not installed: {install_command('verify')}")
    return found
