"""Travels into the sandbox beside the launcher: looks whether each layer is really on.

Standard library only; only a self-test pays for it.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from typing import Any


def look_around(test: dict[str, Any]) -> dict[str, str]:
    """Say what each namespace fails to hide, before Landlock and seccomp would hide it as well."""
    found = {
        name: f"still the host's {name} namespace"
        for name, link in test["namespaces"].items()
        if os.readlink(f"/proc/self/ns/{test['kinds'][name]}") == link
    }
    leaked = _environment_leak(set(test["allowed_names"]))
    found |= {"environment": leaked} if leaked else {}
    if os.path.exists(test["canary"]):
        found["mount"] = "a file of the host is visible"
    if len(list(filter(str.isdigit, os.listdir("/proc")))) > 3:
        found["pid"] = "processes of the host are visible"
    if _connects(test["port"]):
        found["network"] = "a listener of the host can be reached"
    for path, size in test["sizes"].items():
        there = os.statvfs(path)
        sized = there.f_blocks * there.f_frsize <= size
        if not (there.f_flag & os.ST_RDONLY or (size and sized)):
            found["disk"] = f"{path} has no limit"
    return found


def _environment_leak(allowed: set[str]) -> str:
    for place in ("self", "1", str(os.getppid())):
        with contextlib.suppress(OSError), open(f"/proc/{place}/environ", "rb") as file:
            names = {entry.partition(b"=")[0].decode("utf-8", "replace") for entry in
                     file.read().split(b"\0") if entry}  # fmt: skip
            if names - allowed:
                return f"variables of the host in /proc/{place}/environ"
    return ""


def look_behind(test: dict[str, Any], status: str) -> dict[str, str]:
    """Say which of the locks does not hold."""
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    wrong = {
        "seccomp": fields.get("Seccomp") != "2" or _connects(test["port"]),
        "privileges": fields.get("NoNewPrivs") != "1",
        "capabilities": any(int(fields[f"Cap{which}"], 16) for which in ("Eff", "Prm", "Amb")),
        "uid": os.getuid() == 0,
        "limits": any(
            resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[1] not in range(value + 1)
            for name, value in test["limits"].items()
        ),
        "landlock": (
            _opens("/proc/version")
            or _opens(test["canary"])
            or _truncates(test["canary"])
            or _signals(test["process"])
        ),
    }
    return {name: f"{name} does not hold" for name, failed in wrong.items() if failed}


def _opens(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY))
    except OSError:
        return False
    return True


def _truncates(path: str) -> bool:
    try:
        os.truncate(path, 0)
    except OSError:
        return False
    return True


def _signals(pid: int | None) -> bool:
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _connects(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.2):
            return True
    except OSError:
        return False
