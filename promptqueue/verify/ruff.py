"""Runs ruff on generated code, deaf to whatever configuration or noqa the code brings along."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from shutil import which
from typing import IO, Literal, cast

from promptqueue.errors import UsageError
from promptqueue.extras import install_command
from promptqueue.verify.report import Finding

FATAL = ("E9", "F63", "F7", "F82", "PLE")
"""Code that cannot run as it stands: it does not parse, compares with `is`, returns outside of a
function, or uses names that nothing defines."""
STYLE = ("F", "E7", "B", "W6")
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
    whole = [line for line in lines[:_MOST] if line.endswith(b"\n")]
    found = [_finding(json.loads(line), root) for line in whole]
    found = [each for each in found if each.severity == severity]  # what does not parse is in both
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


def _finding(entry: dict[str, object], folder: Path) -> Finding:
    path = Path(str(entry["filename"])).resolve().relative_to(folder).as_posix()
    place = entry["location"]
    line = int(place["row"]) if isinstance(place, dict) else 0
    rule = str(entry["code"] or "E999")
    message = str(entry["message"])
    fatal = rule.startswith(FATAL) or rule in ("E999", "invalid-syntax")
    severity = "error" if fatal else "warning"
    return Finding("ruff", message, path, line, rule, severity)  # type: ignore[arg-type]


def _ruff() -> str:
    """Return the ruff beside this interpreter, or the first on the path."""
    beside = Path(sysconfig.get_path("scripts")) / "ruff"
    found = str(beside) if beside.exists() else which("ruff")
    if found is None:
        raise UsageError(f"ruff is not installed: {install_command('verify')}")
    return found
