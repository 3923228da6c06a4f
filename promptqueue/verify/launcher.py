"""The first process inside a sandbox: lock the doors behind it, run the command, tell its end.

Standard library only, run as `python -I -S launcher.py CONFIG_FD [supervise]`. The host's side is
isolation.py, which writes the configuration (JSON) into the pipe CONFIG_FD.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import importlib
import json
import os
import resource
import signal
import stat
import struct
import sys
from typing import Any

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_CAPBSET_DROP = 1, 4, 22, 24
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 36, 38
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_READ = 0b1101
"""EXECUTE, READ_FILE, READ_DIR of linux/landlock.h."""
_OF_FILES = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15
"""The rights that a file, not a folder, can carry."""
_CLOSED = 127
"""Exit code when the command cannot be executed, as a shell has it."""


def main() -> None:
    """Do what the configuration says; nothing of this file runs on when the command ended."""
    if "supervise" in sys.argv:
        _supervise()
    with os.fdopen(int(sys.argv[1]), "rb") as pipe:
        config = json.loads(pipe.read())
    control: int = config["control"]
    try:
        found = _lock(config)
    except Exception as exc:
        _tell(control, {"failed": f"{type(exc).__name__}: {exc}"})
        os._exit(1)
    _tell(control, {"started": True, "found": found})
    if config["command"]:
        _run(config, control)
    os._exit(0)


def _lock(config: dict[str, Any]) -> dict[str, str]:
    """Shut one door after the other and return what the self-test saw."""
    _prctl(_PR_SET_DUMPABLE, 0)
    test = config["test"]
    look = _self_test() if test else None
    found: dict[str, str] = {}
    if look and not config["supervised"]:
        found |= look.look_around(test)
    status = os.open("/proc/self/status", os.O_RDONLY)
    _become(config)
    for name, value in config["limits"].items():
        _limit(getattr(resource, f"RLIMIT_{name}"), value)
    if config["no_new_privileges"]:
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    os.chdir(config["cwd"])
    for name, data in config["scratch"].items():
        _write(name, base64.b64decode(data))
    if config["landlock"]:
        _landlock(**config["landlock"])
    if config["filter"]:
        _filter(base64.b64decode(config["filter"]))
    if look:
        found |= look.look_behind(test, os.pread(status, 1 << 16, 0).decode())
    os.close(status)
    return found


def _self_test() -> Any:
    """Import the file beside this one, while it can be read still."""
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    try:
        return importlib.import_module("self_test")
    finally:
        sys.path.pop()


def _run(config: dict[str, Any], control: int) -> None:
    child = os.fork()
    if not child:
        _execute(config)
    with contextlib.suppress(OSError):
        os.close(0)
        os.close(1)
        os.close(2)
    _, status = os.waitpid(child, 0)
    files = {}
    room = config["collect_cap"]
    for name in config["collect"]:
        data = _read(name, room)
        if data is not None:
            files[name] = data
            room -= len(data)
    sizes = {name: len(data) for name, data in files.items()}
    _tell(control, {"ended": status, "files": sizes})
    for data in files.values():
        _send(control, data)


def _execute(config: dict[str, Any]) -> None:
    command = config["command"]
    os.closerange(3, 4096)
    for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    if config["supervised"]:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        os.execvpe(command[0], command, config["env"])
    except OSError as exc:
        os.write(2, f"{command[0]}: {exc.strerror}\n".encode())
    os._exit(_CLOSED)


def _supervise() -> None:
    """Stay outside, and end every descendant when the first child ends or the host asks for it.

    A PID namespace does this by itself; where there is none, orphans come home to a subreaper.
    """
    parent = os.getppid()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGTERM, _sweep)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)
    child = os.fork()
    if not child:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        return
    _prctl(_PR_SET_DUMPABLE, 0)
    os.closerange(0, 4096)
    while os.wait()[0] != child:
        pass
    _sweep()


def _sweep(*_: object) -> None:
    """Kill and reap until no child is left; never kill(-1), that would reach the user's others."""
    try:
        while True:
            for pid in _children(os.getpid()):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(-1, 0)
    except ChildProcessError:
        os._exit(0)


def _children(parent: int) -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
            state = file.read().rpartition(b")")[2].split()
            if int(state[1]) == parent and state[0] != b"Z":
                found.append(int(name))
    return found


def _become(config: dict[str, Any]) -> None:
    """Leave root behind for good: no capability can come back, then another user id."""
    uid = config["uid"]
    if uid is None and not config["drop"]:
        return
    for capability in range(64):
        if _LIBC.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) and ctypes.get_errno() != 22:
            raise OSError(ctypes.get_errno(), "the capability bounding set cannot be emptied")
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        _prctl(_PR_SET_DUMPABLE, 0)
    else:
        header, none = struct.pack("=Ii", 0x20080522, 0), bytes(24)  # version 3 of capset
        _checked(_LIBC.capset(header, none), "capset")


def _limit(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))


def _landlock(read: list[str], write: list[str]) -> None:
    version = int(_LIBC.syscall(_LANDLOCK_CREATE, None, 0, 1))
    _checked(-1 if version < 1 else 0, "Landlock")
    rights = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1
    network, scoped = (3 if version >= 4 else 0), (3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = _LIBC.syscall(_LANDLOCK_CREATE, struct.pack("=QQQ", rights, network, scoped), size, 0)
    _checked(ruleset, "landlock_create_ruleset")
    for path in read:
        _allow(ruleset, path, _READ & rights)
    for path in write:
        _allow(ruleset, path, rights)
    _checked(_LIBC.syscall(_LANDLOCK_RESTRICT, ruleset, 0), "landlock_restrict_self")
    os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there needs no right
    if not stat.S_ISDIR(os.fstat(place).st_mode):
        rights &= _OF_FILES
    rule = struct.pack("=Qi", rights, place)
    _checked(_LIBC.syscall(_LANDLOCK_ADD, ruleset, 1, rule, 0), f"landlock_add_rule {path}")
    os.close(place)


def _filter(program: bytes) -> None:
    buffer = ctypes.create_string_buffer(program, len(program))
    pointer = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))  # struct sock_fprog
    _checked(_LIBC.prctl(_PR_SET_SECCOMP, 2, pointer, 0, 0), "seccomp")


def _prctl(option: int, value: int) -> None:
    _checked(_LIBC.prctl(option, value, 0, 0, 0), f"prctl {option}")


def _checked(result: int, what: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _write(name: str, data: bytes) -> None:
    if os.path.dirname(name):
        os.makedirs(os.path.dirname(name), exist_ok=True)
    with open(name, "xb") as file:
        file.write(data)


def _read(name: str, cap: int) -> bytes | None:
    """Read a regular file; links (on the way, too), folders, FIFOs and too large ones are none."""
    if os.path.realpath(name) != os.path.join(os.path.realpath("."), name):
        return None
    try:
        place = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    data = os.read(place, cap + 1) if stat.S_ISREG(os.fstat(place).st_mode) else None
    while data and len(data) <= cap and (more := os.read(place, cap + 1 - len(data))):
        data += more
    os.close(place)
    return data if data is not None and len(data) <= cap else None


def _tell(control: int, message: dict[str, Any]) -> None:
    _send(control, json.dumps(message).encode() + b"\n")


def _send(control: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(control, view) :]


if __name__ == "__main__":
    main()
