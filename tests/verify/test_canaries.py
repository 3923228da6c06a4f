"""The sandbox, judged from outside alone: by listeners, files, processes and lists of the host.

Nothing that the code says of itself counts, but for a secret in its output. The control runs the
same code without isolation, and shows that the judges do see each leak.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import secrets
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from promptqueue.verify import watch
from promptqueue.verify.sandbox import Process, Sandbox, open_sandbox, run
from tests.verify.canaries import Canaries, canaries
from tests.verify.hostile import AFTERWARDS, LIMITS, MEANWHILE, Look, lingering, program

pytestmark = pytest.mark.sandbox
opened = functools.cache(open_sandbox)
_ROOM = LIMITS.model_copy(update={"processes": 400, "memory_mib": 8192})


CROWDS = ("starts many processes", "starts many threads")


@pytest.fixture(name="canaries")
def fixture_canaries() -> Iterator[Canaries]:
    with canaries() as found:
        yield found


def unprotected() -> Sandbox:
    """Return what holds nothing back, not even the limits."""
    bare = open_sandbox("none")
    off = frozenset({"limits"})
    return dataclasses.replace(bare, plan=dataclasses.replace(bare.plan, off=off))


def written(folder: Path, text: str) -> Path:
    code = folder / "code"
    code.mkdir()
    (code / "main.py").write_text(text)
    return code


def leaks(sandbox: Sandbox, canaries: Canaries, name: str, tmp_path: Path) -> bool:
    """Run an attack to its end; tell whether anything of it shows."""
    code = written(tmp_path, program(canaries, AFTERWARDS[name]))
    before = canaries.state()

    outcome = run(
        sandbox,
        ["python", "{code}/main.py"],
        code=code,
        limits=LIMITS,
        readable=[canaries.readable],
    )

    assert outcome.stdout.startswith(b"begun"), outcome.stderr
    told = canaries.token in outcome.stdout.decode("utf-8", "replace") + outcome.stderr
    return told or canaries.reached() or canaries.state() != before


def shows(sandbox: Sandbox, canaries: Canaries, name: str, tmp_path: Path) -> bool:
    """Run an attack until it has tried; tell whether the host sees that it worked."""
    text, worked = MEANWHILE[name]
    code = written(tmp_path, lingering(canaries, text))
    limits = _ROOM if "limits" in sandbox.plan.off else LIMITS
    word = secrets.token_hex(16)
    command = ["python", "{code}/main.py", word]
    with sandbox.start(command, code=code, limits=limits) as process:
        assert heard(process) == b"ready\n"
        tree = watch.tree(process.pid)
        first = next(pid for pid in tree if _names(Path(f"/proc/{pid}/cmdline"), word))
        look = Look(canaries, first, code)
        process.stdin.write(b"\n")
        if not heard(process):
            return False  # it was ended for what it did
        return worked(look)


def heard(process: Process) -> bytes:
    assert select.select([process.stdout], [], [], 30)[0]
    return os.read(process.stdout.fileno(), 10)


@pytest.mark.parametrize("backend", ["bwrap", "landlock"])
@pytest.mark.parametrize("name", AFTERWARDS)
def test_nothing_leaks(canaries: Canaries, tmp_path: Path, backend: str, name: str) -> None:
    assert not leaks(opened(backend), canaries, name, tmp_path)


@pytest.mark.parametrize("name", AFTERWARDS)
def test_without_isolation_the_judges_see_the_leak(
    canaries: Canaries, tmp_path: Path, name: str
) -> None:
    if name == "binds a process to a core" and len(os.sched_getaffinity(0)) == 1:
        pytest.skip("there is only one")
    assert leaks(unprotected(), canaries, name, tmp_path)


@pytest.mark.parametrize("backend", ["bwrap", "landlock"])
@pytest.mark.parametrize("name", MEANWHILE)
def test_nothing_is_gained(canaries: Canaries, tmp_path: Path, backend: str, name: str) -> None:
    if name in CROWDS and backend == "landlock":
        pytest.skip("the kernel counts the user's other processes, too; the next test is for these")
    assert not shows(opened(backend), canaries, name, tmp_path)


@pytest.mark.parametrize("name", CROWDS)
def test_the_watch_ends_a_crowd_that_no_limit_binds(
    canaries: Canaries, tmp_path: Path, name: str
) -> None:
    code = written(tmp_path, lingering(canaries, MEANWHILE[name][0]))

    outcome = run(unprotected(), ["python", "{code}/main.py"], code=code, limits=LIMITS)

    assert outcome.stopped == "processes"


@pytest.mark.parametrize("name", MEANWHILE)
def test_without_isolation_the_judges_see_the_gain(
    canaries: Canaries, tmp_path: Path, name: str
) -> None:
    sandbox = unprotected()
    if name == "raises its limits":
        sandbox = open_sandbox("none")  # there must be some
        if not _may_raise_limits():
            pytest.skip("CAP_SYS_RESOURCE is needed for it")
    assert shows(sandbox, canaries, name, tmp_path)


def _may_raise_limits() -> bool:
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if "CapEff" in x)
    return bool(int(line.split()[1], 16) >> 24 & 1)


_STAY = "os.closerange(0, 3); os.write(ready[1], b'x'); time.sleep(60)"
"""Nobody waits for the end of its output."""
_DAEMON = f"""
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        {_STAY}
    os._exit(0)
os.read(ready[0], 1)
"""
LINGERING = {
    "a child": f"if os.fork() == 0:\n    {_STAY}\nos.read(ready[0], 1)\n",
    "a daemon": _DAEMON,
    "a deaf daemon": (
        "for n in range(1, 32):\n    if n not in (9, 17, 19):\n"
        f"        signal.signal(n, signal.SIG_IGN)\n{_DAEMON}"
    ),
    "a main program that never ends": _STAY,
}
"""The main program ends only when the other is there."""


@pytest.mark.parametrize("backend", ["bwrap", "landlock", "none"])
@pytest.mark.parametrize("name", LINGERING)
def test_nothing_is_left_running(tmp_path: Path, backend: str, name: str) -> None:
    """Looked for in the host's own list of processes, by a word of their command line."""
    token = secrets.token_hex(16)
    code = written(tmp_path, f"import os, signal, time\nready = os.pipe()\n{LINGERING[name]}")
    limits = LIMITS.model_copy(update={"wall_s": 4.0})

    outcome = run(opened(backend), ["python", "{code}/main.py", token], code=code, limits=limits)

    assert outcome.stopped == ("time" if "never ends" in name else "")
    assert outcome.stderr == ""
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if _names(path, token)]


def _names(path: Path, token: str) -> bool:
    with contextlib.suppress(OSError):
        return token.encode() in path.read_bytes()
    return False
