"""The sandbox, judged from outside alone: by listeners, files and processes of the host.

Nothing that the code says of itself counts, but for a secret in its output. The control runs the
same code without isolation, and shows that the judges do see each leak.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import resource
import secrets
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from promptqueue.verify.sandbox import Outcome, Sandbox, SandboxLimits, open_sandbox, run

LIMITS = SandboxLimits(wall_s=10, memory_mib=512, processes=48, disk_mib=32)
ATTEMPTS = {
    "reaches a TCP listener": "import socket; socket.create_connection(('127.0.0.1', TCP), 2)",
    "reaches a UDP listener": (
        "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"
        ".sendto(b'x', ('127.0.0.1', UDP))"
    ),
    "reaches an abstract unix socket": (
        "import socket; socket.socket(socket.AF_UNIX).connect('\\0' + NAME)"
    ),
    "reaches a unix socket by its path": (
        "import socket; socket.socket(socket.AF_UNIX).connect(FOLDER + '/socket')"
    ),
    "reads a secret": "print(open(FOLDER + '/secret').read())",
    "reads a secret by /proc/self/root": (
        "print(open('/proc/self/root' + FOLDER + '/secret').read())"
    ),
    "reads the environment of another process": ("print(open(f'/proc/{SLEEPER}/environ').read())"),
    "reads a secret through a link": (
        "import os; os.symlink(FOLDER + '/secret', 'link'); print(open('link').read())"
    ),
    "reads a secret through a hard link": (
        "import os; os.link(FOLDER + '/secret', FOLDER + '/link')"
    ),
    "makes a file": "open(FOLDER + '/new', 'w').close()",
    "makes a folder": "import os; os.mkdir(FOLDER + '/new')",
    "writes into a file": "open(FOLDER + '/secret', 'a').write('more')",
    "empties a file": "import os; os.truncate(FOLDER + '/secret', 0)",
    "removes a file": "import os; os.remove(FOLDER + '/secret')",
    "renames a file": "import os; os.rename(FOLDER + '/secret', FOLDER + '/gone')",
    "changes the mode of a file": "import os; os.chmod(FOLDER + '/secret', 0o777)",
    "changes the times of a file": "import os; os.utime(FOLDER + '/secret', (1, 1))",
    "kills a process": "import os; os.kill(SLEEPER, 9)",
    "stops a process": "import os; os.kill(SLEEPER, 19)",
    "binds a process to a core": (
        "import os; os.sched_setaffinity(SLEEPER, {max(os.sched_getaffinity(0))})"
    ),
    "makes a process wait for the idle": (
        "import os; os.sched_setscheduler(SLEEPER, os.SCHED_IDLE, os.sched_param(0))"
    ),
    "limits a process": "import resource as r; r.prlimit(SLEEPER, r.RLIMIT_NOFILE, (20, 20))",
    "gives a process up to the memory killer": (
        "open(f'/proc/{SLEEPER}/oom_score_adj', 'w').write('999')"
    ),
    "lowers the priority of a process": "import os; os.setpriority(os.PRIO_PROCESS, SLEEPER, 19)",
}
"""What the code tries; all of it is harmless to the machine."""


@dataclasses.dataclass
class Canaries:
    """Things of the host that show when somebody was there."""

    folder: Path
    token: str
    tcp: socket.socket
    udp: socket.socket
    abstract: socket.socket
    by_path: socket.socket
    sleeper: subprocess.Popen[bytes]

    def names(self) -> str:
        """Return what an attacker could know at best, as code."""
        ports = {"TCP": self.tcp.getsockname()[1], "UDP": self.udp.getsockname()[1]}
        others = {"NAME": self.token, "FOLDER": str(self.folder), "SLEEPER": self.sleeper.pid}
        return "".join(f"{key} = {value!r}\n" for key, value in {**ports, **others}.items())

    def state(self) -> object:
        """Return what must not change."""
        entries = [(e.name, e.stat().st_mode, e.stat().st_mtime) for e in self.folder.iterdir()]
        with contextlib.suppress(OSError):
            entries.append(((self.folder / "secret").read_text(), 0, 0))
        return sorted(entries), self.sleeper.poll() is None and _state_of(self.sleeper.pid)

    def reached(self) -> bool:
        """Tell whether anything came to one of the listeners."""
        for listener in (self.tcp, self.abstract, self.by_path):
            with contextlib.suppress(BlockingIOError):
                listener.accept()[0].close()
                return True
        with contextlib.suppress(BlockingIOError):
            return bool(self.udp.recv(10))
        return False


def _state_of(pid: int) -> object:
    """Return what others could change of a process."""
    return (
        Path(f"/proc/{pid}/stat").read_text().split()[2] == "T",  # stopped
        os.getpriority(os.PRIO_PROCESS, pid),
        os.sched_getaffinity(pid),
        os.sched_getscheduler(pid),
        resource.prlimit(pid, resource.RLIMIT_NOFILE),
        Path(f"/proc/{pid}/oom_score_adj").read_text(),
    )


@pytest.fixture
def canaries() -> Iterator[Canaries]:
    token = secrets.token_hex(16)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp")))
        folder.chmod(0o777)
        (folder / "secret").write_text(token)
        (folder / "secret").chmod(0o666)
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        unix = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2)]
        for each, name in zip(unix, ("\0" + token, str(folder / "socket")), strict=True):
            each.bind(name)
            each.listen()
        for each in (tcp, udp, *unix):
            each.setblocking(False)
        sleeper = stack.enter_context(
            subprocess.Popen(["sleep", "60"], env={"PATH": os.environ["PATH"], "KEY": token})
        )
        stack.callback(sleeper.kill)
        yield Canaries(folder, token, tcp, udp, *unix, sleeper)


def leaks(canaries: Canaries, outcome: Outcome, before: object) -> bool:
    told = canaries.token in outcome.stdout.decode("utf-8", "replace") + outcome.stderr
    return told or canaries.reached() or canaries.state() != before


def attempt(sandbox: Sandbox, canaries: Canaries, name: str, tmp_path: Path) -> bool:
    """Run one attempt; tell whether anything leaked."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "main.py").write_text(canaries.names() + ATTEMPTS[name] + "\n")
    before = canaries.state()

    outcome = run(sandbox, ["python", "{code}/main.py"], code=code, limits=LIMITS)

    return leaks(canaries, outcome, before)


@pytest.mark.sandbox
@pytest.mark.parametrize("backend", ["bwrap", "landlock"])
@pytest.mark.parametrize("name", ATTEMPTS)
def test_nothing_leaks(canaries: Canaries, tmp_path: Path, backend: str, name: str) -> None:
    assert not attempt(open_sandbox(backend), canaries, name, tmp_path)


@pytest.mark.sandbox
@pytest.mark.parametrize("name", ATTEMPTS)
def test_without_isolation_the_judges_see_the_leak(
    canaries: Canaries, tmp_path: Path, name: str
) -> None:
    assert attempt(open_sandbox("none"), canaries, name, tmp_path)


LINGERING = {
    "a child": "import os\nif os.fork() == 0:\n    {stay}",
    "a daemon": (
        "import os\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        {stay}"
    ),
    "a deaf daemon": (
        "import os, signal\nfor n in range(1, 32):\n    if n not in (9, 17, 19):\n"
        "        signal.signal(n, signal.SIG_IGN)\n"
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        {stay}"
    ),
    "a main program that never ends": "{stay}",
}


@pytest.mark.sandbox
@pytest.mark.parametrize("backend", ["bwrap", "landlock", "none"])
@pytest.mark.parametrize("name", LINGERING)
def test_nothing_is_left_running(tmp_path: Path, backend: str, name: str) -> None:
    """Looked for in the host's own list of processes, by a word of their command line."""
    token = secrets.token_hex(16)
    program = "import time; time.sleep(60)"
    stay = (
        f"import os, sys; os.execv(sys.executable, [sys.executable, '-c', {program!r}, {token!r}])"
    )
    code = tmp_path / "code"
    code.mkdir()
    (code / "main.py").write_text(LINGERING[name].replace("{stay}", stay) + "\n")
    limits = LIMITS.model_copy(update={"wall_s": 2.0})

    outcome = run(open_sandbox(backend), ["python", "{code}/main.py"], code=code, limits=limits)

    assert outcome.stopped == ("time" if "never ends" in name else "")
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if _names(path, token)]


def _names(path: Path, token: str) -> bool:
    with contextlib.suppress(OSError):
        return token.encode() in path.read_bytes()
    return False
