"""Hostile code, harmless to the machine; each attack is judged by what the host sees of it."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from promptqueue.verify import watch
from promptqueue.verify.sandbox import SandboxLimits
from tests.verify.canaries import Canaries

LIMITS = SandboxLimits(wall_s=10, memory_mib=512, processes=48, disk_mib=32)
_HEAD = """
import ctypes, glob, os, resource, socket, sys, time
C = ctypes.CDLL(None, use_errno=True)
"""
AFTERWARDS = {
    # the network, and whatever else carries a message
    "reaches a TCP listener": "socket.create_connection(('127.0.0.1', TCP), 2)",
    "reaches a UDP listener": "socket.socket(2, 2).sendto(b'x', ('127.0.0.1', UDP))",
    "reaches an abstract unix socket": "socket.socket(socket.AF_UNIX).connect('\\0' + NAME)",
    "reaches a unix socket by its path": (
        "socket.socket(socket.AF_UNIX).connect(FOLDER + '/socket')"
    ),
    "reaches a netlink socket": "socket.socket(16, 3, 2).sendto(b'x', (NETLINK, 0))",
    "writes into a named pipe": "open(FOLDER + '/pipe', 'w').write('x')",
    "writes on a terminal": "open(TERMINAL, 'w').write('\\33[2J')",
    # secrets: what it prints is what it knows
    "reads a secret": "print(open(FOLDER + '/secret').read())",
    "climbs out of its folder": "print(open('../' * 9 + FOLDER[1:] + '/secret').read())",
    "reads a secret by /proc/self/root": (
        "print(open('/proc/self/root' + FOLDER + '/secret').read())"
    ),
    "reads a secret by another's root": (
        "print(open(f'/proc/{SLEEPER}/root{FOLDER}/secret').read())"
    ),
    "reads a secret by another's folder": "print(open(f'/proc/{SLEEPER}/cwd/secret').read())",
    "reads what another process holds open": "print(open(f'/proc/{SLEEPER}/fd/0').read())",
    "reads the environment of another process": "print(open(f'/proc/{SLEEPER}/environ').read())",
    "reads all environments": """
for path in glob.glob('/proc/[0-9]*/environ'):
    try:
        print([each for each in open(path).read().split('\\0') if each.startswith('KEY=')])
    except (OSError, UnicodeDecodeError):
        pass""",
    "reads the memory of another process": """
stack = next(line for line in open(f'/proc/{SLEEPER}/maps') if '[stack]' in line)
begin, end = (int(each, 16) for each in stack.split()[0].split('-'))
memory = open(f'/proc/{SLEEPER}/mem', 'rb')
memory.seek(begin)
print(memory.read(end - begin))""",
    "reads a secret through a link": (
        "os.symlink(FOLDER + '/secret', 'link'); print(open('link').read())"
    ),
    # files
    "makes a hard link": "os.link(FOLDER + '/secret', FOLDER + '/link')",
    "makes a link": "os.symlink('/', FOLDER + '/new')",
    "makes a named pipe": "os.mkfifo(FOLDER + '/new')",
    "makes a file": "open(FOLDER + '/new', 'w').close()",
    "makes a folder": "os.mkdir(FOLDER + '/new')",
    "writes into a file": "open(FOLDER + '/secret', 'a').write('more')",
    "empties a file": "os.truncate(FOLDER + '/secret', 0)",
    "removes a file": "os.remove(FOLDER + '/secret')",
    "renames a file": "os.rename(FOLDER + '/secret', FOLDER + '/gone')",
    "changes the mode of a file": "os.chmod(FOLDER + '/secret', 0o777)",
    "changes the times of a file": "os.utime(FOLDER + '/secret', (1, 1))",
    "puts a mark on a file": "os.setxattr(FOLDER + '/secret', 'user.mark', b'x')",
    "writes where it may read": "open(READABLE + '/new', 'w').close()",
    "changes what it may read": "open(READABLE + '/given', 'a').write('more')",
    # other processes
    "kills a process": "os.kill(SLEEPER, 9)",
    "stops a process": "os.kill(SLEEPER, 19)",
    "stops a process by its descriptor": (
        "import signal; signal.pidfd_send_signal(os.pidfd_open(SLEEPER), 19)"
    ),
    "binds a process to a core": "os.sched_setaffinity(SLEEPER, {max(os.sched_getaffinity(0))})",
    "makes a process wait for the idle": (
        "os.sched_setscheduler(SLEEPER, os.SCHED_IDLE, os.sched_param(0))"
    ),
    "limits a process": "resource.prlimit(SLEEPER, resource.RLIMIT_NOFILE, (20, 20))",
    "gives a process up to the memory killer": (
        "open(f'/proc/{SLEEPER}/oom_score_adj', 'w').write('999')"
    ),
    "lowers the priority of a process": "os.setpriority(os.PRIO_PROCESS, SLEEPER, 19)",
    # what stays in the kernel when a process ends
    "leaves shared memory": "C.shmget(KEY, 4096, 0o1600)",
    "leaves a message queue": "C.msgget(KEY, 0o1600)",
    "leaves a semaphore": "C.semget(KEY, 1, 0o1600)",
    "leaves a key": "C.syscall(248, b'user', NAME.encode(), b'x', 1, -4)",
}
"""Judged by the canaries when it ended."""


@dataclass(frozen=True)
class Look:
    """What the host sees of the running code."""

    canaries: Canaries
    pid: int
    code: Path
    """Its folder on the host."""
    begun: dict[str, Path] = field(default_factory=dict)
    """Where its links led before it tried anything."""
    limits: dict[str, float] = field(default_factory=dict)
    """Its hard limits then."""
    shared_kib: int = field(default_factory=lambda: _shared_kib())

    def __post_init__(self) -> None:
        for what in ("ns/user", "ns/net", "ns/mnt", "root"):
            self.begun[what] = Path(f"/proc/{self.pid}/{what}").readlink()
        self.limits.update(self.hard_limits())

    def tree(self) -> list[int]:
        return [self.pid, *watch.tree(self.pid)]

    def status(self, name: str, pid: int = 0) -> str:
        lines = Path(f"/proc/{pid or self.pid}/status").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith(f"{name}:"))

    def strays(self, what: str) -> bool:
        """Tell whether a link of some process leads elsewhere than in the beginning."""
        return any(
            Path(f"/proc/{pid}/{what}").readlink() != self.begun[what] for pid in self.tree()
        )

    def holds(self, what: str) -> bool:
        """Tell whether it has a file descriptor whose link names this."""
        return any(what in str(path.readlink()) for path in Path(f"/proc/{self.pid}/fd").iterdir())

    def shared_mib(self) -> int:
        """Return the shared memory of the host that came since it began and no process shows."""
        shown = sum(int(self.status("RssShmem", pid).split()[0]) for pid in self.tree())
        return (_shared_kib() - self.shared_kib - shown) >> 10

    def in_sockets_mib(self) -> int:
        """Return what its sockets hold, as the kernel tells who holds one of them."""
        process, found = os.pidfd_open(self.pid), 0
        for number in (int(path.name) for path in Path(f"/proc/{self.pid}/fd").iterdir()):
            if "socket:" in str(Path(f"/proc/{self.pid}/fd/{number}").readlink()):
                held = ctypes.CDLL(None).syscall(_PIDFD_GETFD, process, number, 0)
                with socket.socket(fileno=held) as end:
                    found += struct.unpack("=9I", end.getsockopt(socket.SOL_SOCKET, 55, 36))[2]
        os.close(process)
        return found >> 20

    def hard_limits(self) -> dict[str, float]:
        lines = Path(f"/proc/{self.pid}/limits").read_text().splitlines()[1:]
        words = {line[:26].strip(): line[26:].split()[1] for line in lines}
        return {name: float(word.replace("unlimited", "inf")) for name, word in words.items()}


def _shared_kib() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Shmem:"))


_PIDFD_GETFD = 438
_NEW_USER, _NEW_NET, _NEW_MOUNTS = 0x10000000, 0x40000000, 0x00020000
MEANWHILE: dict[str, tuple[str, Callable[[Look], bool]]] = {
    # the kernel's doors
    "makes a namespace": (f"C.unshare({_NEW_USER})", lambda it: it.strays("ns/user")),
    "clones itself into a namespace": (
        "arguments = (ctypes.c_uint64 * 8)(0x10000000, 0, 0, 0, 17)\n"
        "if not C.syscall(435, arguments, 64): time.sleep(60)",
        lambda it: it.strays("ns/user"),
    ),
    "makes a network": (f"C.unshare({_NEW_USER | _NEW_NET})", lambda it: it.strays("ns/net")),
    "mounts something": (
        f"C.unshare({_NEW_USER | _NEW_MOUNTS}); C.mount(b'x', b'/tmp', b'tmpfs', 0, None)",
        lambda it: it.strays("ns/mnt"),
    ),
    "changes its root": (
        f"C.unshare({_NEW_USER}); C.chroot(b'/usr')",
        lambda it: it.strays("root"),
    ),
    "gains capabilities": (f"C.unshare({_NEW_USER})", lambda it: int(it.status("CapEff"), 16) > 0),
    "traces a child": (
        "pid = os.fork()\nif not pid: time.sleep(60)\nC.ptrace(0x4206, pid, 0, 0)",
        lambda it: any(it.status("TracerPid", pid) != "0" for pid in it.tree()),
    ),
    "opens a socket": (
        "kept = [socket.socket(f, 2) for f in (1, 2, 10)]",
        lambda it: it.holds("socket:"),
    ),
    "makes sockets by io_uring": (
        "C.syscall(425, 1, ctypes.create_string_buffer(120))",
        lambda it: it.holds("io_uring"),
    ),
    "makes memory that nobody counts": ("os.memfd_create('x')", lambda it: it.holds("memfd:")),
    "handles its own page faults": ("C.syscall(323, 1)", lambda it: it.holds("userfaultfd")),
    "locks a file": (
        "import fcntl; kept = open(FOLDER + '/secret'); fcntl.flock(kept, fcntl.LOCK_EX)",
        lambda it: it.canaries.is_locked(),
    ),
    # its own code
    "rewrites its code": (
        "open(sys.argv[0], 'a').write('more = 1')",
        lambda it: "more = 1" in (it.code / "main.py").read_text().splitlines()[-1],
    ),
    "adds a module to its code": (
        "open(os.path.dirname(sys.argv[0]) + '/new.py', 'w').close()",
        lambda it: (it.code / "new.py").exists(),
    ),
    # limits
    "raises its limits": (
        "for n in range(16):\n    try: resource.setrlimit(n, (1 << 40, 1 << 40))\n"
        "    except (OSError, ValueError): pass",
        lambda it: any(now > it.limits[name] for name, now in it.hard_limits().items()),
    ),
    "opens many files": (
        "kept = [open('/dev/null') for _ in range(500)]",
        lambda it: len([*Path(f"/proc/{it.pid}/fd").iterdir()]) > 256,
    ),
    "reserves memory": (
        "import mmap; kept = mmap.mmap(-1, 3 << 30, mmap.MAP_PRIVATE)",
        lambda it: int(it.status("VmData").split()[0]) > LIMITS.memory_mib << 10,
    ),
    "leaves shared memory that no process shows": (
        "import mmap\nkept = mmap.mmap(-1, 96 << 20)\n"
        "for _ in range(96): kept.write(b'x' * (1 << 20)); kept.madvise(mmap.MADV_DONTNEED)",
        lambda it: it.shared_mib() > 64,
    ),
    "shares pages of /dev/zero": (
        "import mmap\nkept = mmap.mmap(os.open('/dev/zero', os.O_RDWR), 96 << 20)\n"
        "for _ in range(96): kept.write(b'x' * (1 << 20)); kept.madvise(mmap.MADV_DONTNEED)",
        lambda it: it.shared_mib() > 64,
    ),
    "keeps memory in sockets": (
        "kept = [socket.socketpair() for _ in range(30)]\n"
        "for pair in kept:\n    pair[0].setsockopt(1, 7, 1 << 30)\n    pair[0].setblocking(False)\n"
        "    try:\n        while True: pair[0].send(bytes(1 << 16))\n    except OSError: pass",
        lambda it: it.in_sockets_mib() > 30,
    ),
    "locks memory": (
        "kept = ctypes.create_string_buffer(4 << 20); C.mlock(kept, 4 << 20)",
        lambda it: int(it.status("VmLck").split()[0]) > 64,
    ),
    "starts many threads": (
        "import threading\n"
        "for _ in range(100): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
        lambda it: int(it.status("Threads")) > LIMITS.processes,
    ),
    "starts many processes": (
        "for _ in range(100):\n    if not os.fork(): time.sleep(60)",
        lambda it: len(it.tree()) > LIMITS.processes + 3,
    ),
}
"""Name to code and judge, which looks while the code still runs."""


def program(canaries: Canaries, text: str) -> str:
    """Return an attack as a program that knows all that it can, and says that it has begun."""
    return f"{_HEAD}{canaries.names()}print('begun', flush=True)\n{text}\n"


def lingering(canaries: Canaries, text: str) -> str:
    """Return an attack that begins when it is told to, and stays when it has tried."""
    inner = "".join(f"    {line}\n" for line in text.splitlines())
    return (
        f"{_HEAD}{canaries.names()}kept = None\nprint('ready', flush=True)\nsys.stdin.readline()\n"
        f"try:\n{inner}except BaseException:\n    pass\n"
        "print('tried', flush=True)\ntime.sleep(60)\n"
    )
