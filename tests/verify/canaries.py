"""Things of the host that show when somebody was there: files, listeners, processes, lists."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import fcntl
import os
import resource
import secrets
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

NETLINK_USERSOCK = 2
_LIBC = ctypes.CDLL(None, use_errno=True)
_REMOVE = {"shm": _LIBC.shmctl, "msg": _LIBC.msgctl, "sem": _LIBC.semctl}


@dataclasses.dataclass
class Canaries:
    """What an attack could reach, each with a judge that the attacked code has no part in."""

    folder: Path
    """Holds `secret`, `socket` and `pipe`, writable for everybody."""
    readable: Path
    """Given to the sandbox for reading."""
    token: str
    """In the secret, in the environment of the sleeper, and in a file that it holds open."""
    key: int
    """Of what is left in the kernel."""
    listeners: dict[str, socket.socket]
    pipe: int
    terminal: tuple[int, str]
    """The master's descriptor, the slave's path."""
    sleeper: subprocess.Popen[bytes]

    def names(self) -> str:
        """Return what an attacker could know at best, as code."""
        known = {
            "TCP": self.listeners["tcp"].getsockname()[1],
            "UDP": self.listeners["udp"].getsockname()[1],
            "NETLINK": self.listeners["netlink"].getsockname()[0],
            "NAME": self.token[::-1],  # in the output, the token itself would be a leak
            "FOLDER": str(self.folder),
            "READABLE": str(self.readable),
            "SLEEPER": self.sleeper.pid,
            "TERMINAL": self.terminal[1],
            "KEY": self.key,
        }
        return "".join(f"{key} = {value!r}\n" for key, value in known.items())

    def state(self) -> object:
        """Return what must not change."""
        entries = [_described(path) for path in (*self.folder.iterdir(), *self.readable.iterdir())]
        alive = self.sleeper.poll() is None and _of_process(self.sleeper.pid)
        return sorted(entries), alive, [*self.left_in_the_kernel()]

    def reached(self) -> bool:
        """Tell whether anything came to one of the listeners."""
        for name, listener in self.listeners.items():
            with contextlib.suppress(BlockingIOError):
                if name in ("udp", "netlink"):
                    return bool(listener.recv(10))
                listener.accept()[0].close()
                return True
        for descriptor in (self.pipe, self.terminal[0]):
            with contextlib.suppress(BlockingIOError):
                return bool(os.read(descriptor, 10))
        return False

    def left_in_the_kernel(self) -> Iterator[tuple[str, int]]:
        """Yield kind and number of the shared memory and so on that has our key."""
        for kind in _REMOVE:
            lines = Path(f"/proc/sysvipc/{kind}").read_text().splitlines()[1:]
            yield from ((kind, int(i)) for k, i, *_ in map(str.split, lines) if int(k) == self.key)
        for line in Path("/proc/keys").read_text().splitlines():
            if self.token[::-1] in line:
                yield "key", int(line.split()[0], 16)

    def is_locked(self) -> bool:
        """Tell whether another process has a lock on the secret."""
        with (self.folder / "secret").open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def clear_kernel(self) -> None:
        for kind, number in self.left_in_the_kernel():
            if kind == "key":
                _LIBC.syscall(250, 21, number)  # KEYCTL_INVALIDATE
            elif kind == "sem":
                _LIBC.semctl(number, 0, 0)
            else:
                _REMOVE[kind](number, 0, None)


def _described(path: Path) -> tuple[object, ...]:
    there = path.lstat()
    kept = path.read_bytes() if path.is_file() else b""
    marks = os.listxattr(path) if path.is_file() else []
    return str(path), there.st_mode, there.st_mtime, there.st_nlink, kept, marks


def _of_process(pid: int) -> object:
    """Return what others could change of a process."""
    return (
        Path(f"/proc/{pid}/stat").read_text().split()[2] == "T",  # stopped
        os.getpriority(os.PRIO_PROCESS, pid),
        os.sched_getaffinity(pid),
        os.sched_getscheduler(pid),
        resource.prlimit(pid, resource.RLIMIT_NOFILE),
        Path(f"/proc/{pid}/oom_score_adj").read_text(),
    )


@contextlib.contextmanager
def canaries() -> Iterator[Canaries]:
    """Put everything up, and take it away again."""
    token = secrets.token_hex(16)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp")))
        folder.chmod(0o777)
        (folder / "secret").write_text(token)
        (folder / "secret").chmod(0o666)
        os.mkfifo(folder / "pipe")
        readable = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp")))
        (readable / "given").write_text("given")
        pipe = os.open(folder / "pipe", os.O_RDWR | os.O_NONBLOCK)
        stack.callback(os.close, pipe)
        listeners = {
            name: stack.enter_context(each) for name, each in _listeners(folder, token[::-1])
        }
        found = Canaries(
            folder,
            readable,
            token,
            secrets.randbelow(1 << 30) + 1,
            listeners,
            pipe,
            stack.enter_context(_terminal()),
            stack.enter_context(_sleeper(folder, token)),
        )
        stack.callback(found.clear_kernel)
        yield found


def _listeners(folder: Path, name: str) -> Iterator[tuple[str, socket.socket]]:
    made = {
        "tcp": socket.create_server(("127.0.0.1", 0)),
        "udp": socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "abstract": socket.socket(socket.AF_UNIX),
        "by path": socket.socket(socket.AF_UNIX),
        "netlink": socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_USERSOCK),
    }
    made["udp"].bind(("127.0.0.1", 0))
    made["netlink"].bind((0, 0))
    for each, address in (("abstract", "\0" + name), ("by path", str(folder / "socket"))):
        made[each].bind(address)
        made[each].listen()
    for each in made.values():
        each.setblocking(False)
    yield from made.items()


@contextlib.contextmanager
def _terminal() -> Iterator[tuple[int, str]]:
    master, slave = os.openpty()
    os.set_blocking(master, False)
    yield master, os.ttyname(slave)
    os.close(master)
    os.close(slave)


@contextlib.contextmanager
def _sleeper(folder: Path, token: str) -> Iterator[subprocess.Popen[bytes]]:
    with tempfile.TemporaryFile() as held:
        held.write(token.encode())
        held.flush()
        env = {"PATH": os.environ["PATH"], "KEY": token}
        with subprocess.Popen(["sleep", "60"], env=env, cwd=folder, stdin=held) as sleeper:
            yield sleeper
            sleeper.kill()
