"""Starts a command in its sandbox: the pipes, the command line, the launcher's configuration."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from promptqueue.queue.verification import SandboxLimits
from promptqueue.verify import isolation, seccomp
from promptqueue.verify.isolation import Places, Plan
from promptqueue.verify.process import Process, feed
from promptqueue.verify.scratch import scratch_folder

_F_SETPIPE_SZ = 1031
_PIPE_BYTES = 1 << 20
"""Of standard input and output: large answers in few reads."""


@dataclass(frozen=True, slots=True)
class Errand:
    """A command, and what it brings and takes."""

    command: Sequence[str]
    code: Path
    limits: SandboxLimits
    readable: Sequence[Path] = ()
    scratch: Mapping[str, bytes] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    collect: Sequence[str] = ()
    test: Mapping[str, Any] = field(default_factory=dict)
    """Questions of the self-test."""


def launch(plan: Plan, errand: Errand) -> Process:
    """Start the launcher in its sandbox and return when every door is shut."""
    for name in (*errand.scratch, *errand.collect):
        _check_inside(name)
    with ExitStack() as stack:
        outside = None if plan.backend == "bwrap" else stack.enter_context(scratch_folder())
        places = isolation.places(plan, errand.code, outside)
        config = _config(plan, errand, places)
        (config_r, config_w), (control_r, control_w), (status_r, status_w) = (
            os.pipe() for _ in range(3)
        )
        line = _command_line(plan, errand, config_r, status_w)
        popen = _spawned(plan, line, (config_r, control_w, status_w))
        process = Process(*(popen, plan, errand.limits), places=places, belongings=stack.pop_all())
    feed(os.fdopen(config_w, "wb"), json.dumps(config | {"control": control_w}).encode())
    try:
        process.begin(os.fdopen(control_r, "rb"), os.fdopen(status_r, "rb"))
    except BaseException:
        process.close()
        raise
    return process


def _spawned(plan: Plan, line: list[str], theirs: Sequence[int]) -> subprocess.Popen[bytes]:
    """Start the outermost process, which alone keeps the file descriptors `theirs`."""
    popen = subprocess.Popen(
        line,
        bufsize=0,
        env=dict(os.environ) if "environment" in plan.off else {},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=theirs,
        start_new_session=True,
    )
    for fd in theirs:
        os.close(fd)
    for stream in (popen.stdin, popen.stdout):
        with contextlib.suppress(OSError):
            fcntl.fcntl(cast(IO[bytes], stream).fileno(), _F_SETPIPE_SZ, _PIPE_BYTES)
    return popen


def _check_inside(name: str) -> None:
    if Path(name).is_absolute() or ".." in Path(name).parts or os.path.normpath(name) != name:
        raise ValueError(f"{name!r} is no plain path below the working folder")


def _command_line(plan: Plan, errand: Errand, config_fd: int, status_fd: int) -> list[str]:
    if plan.backend != "bwrap":
        launcher = [sys.executable, "-I", "-S", str(isolation.LAUNCHER)]
        return [*launcher, str(config_fd), "supervise"]
    return isolation.bwrap_command(
        plan,
        code=errand.code,
        limits=errand.limits,
        readable=errand.readable,
        status_fd=status_fd,
        config_fd=config_fd,
        tested=bool(errand.test),
    )


def _config(plan: Plan, errand: Errand, places: Places) -> dict[str, Any]:
    """Return all that the launcher is told, but for the pipe that it answers by."""
    guarded = plan.backend != "none"
    program = _filter() if guarded and "seccomp" not in plan.off else None
    paths = isolation.landlock_paths(plan, errand.readable, places)
    rlimits = isolation.resource_limits(plan, errand.limits)
    home = "/tmp/home" if plan.backend == "bwrap" else places.scratch  # noqa: S108 - inside
    given = {name: _filled(value, places) for name, value in errand.env.items()}
    return {
        "env": isolation.ENVIRONMENT | {"HOME": home, "TMPDIR": places.scratch} | given,
        "command": _words(errand.command, places),
        "cwd": places.scratch,
        "scratch": {n: base64.b64encode(d).decode() for n, d in errand.scratch.items()},
        "collect": [*errand.collect],
        "collect_cap": errand.limits.output_mib << 20,
        "supervised": plan.backend != "bwrap",
        "uid": isolation.drop_uid(plan),
        "drop": _drops_capabilities(plan),
        "no_new_privileges": "privileges" not in plan.off,
        "limits": {} if "limits" in plan.off else rlimits,
        "filter": base64.b64encode(program).decode() if program else None,
        "landlock": paths if guarded and "landlock" not in plan.off else None,
        "test": {**errand.test, "limits": rlimits} if errand.test else {},
    }


def _filter() -> bytes | None:
    return seccomp.filter_program(truncates=isolation.landlock_abi() >= isolation.TRUNCATION)


def _words(command: Sequence[str], places: Places) -> list[str]:
    words = [sys.executable if word == "python" else word for word in command[:1]]
    return [_filled(word, places) for word in (*words, *command[1:])]


def _filled(text: str, places: Places) -> str:
    return text.replace("{code}", places.code).replace("{scratch}", places.scratch)


def _drops_capabilities(plan: Plan) -> bool:
    root = os.geteuid() == 0 and plan.backend != "none"
    return root and not plan.user_namespace and "capabilities" not in plan.off
