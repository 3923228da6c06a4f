"""Hostile code is held, judged from outside; and the self-test notices every missing layer."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from promptqueue.errors import IsolationError
from promptqueue.verify import isolation
from promptqueue.verify.sandbox import Outcome, Sandbox, SandboxLimits, open_sandbox, run, self_test

LIMITS = SandboxLimits(wall_s=10, memory_mib=512, processes=48, disk_mib=32)
LOCKS = ("limits", "landlock", "seccomp")


@pytest.fixture(scope="module", params=["bwrap", "landlock"])
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    return open_sandbox(request.param)


@pytest.fixture(scope="module")
def full() -> Sandbox:
    return open_sandbox("bwrap")


def judge(
    sandbox: Sandbox,
    text: str,
    tmp_path: Path,
    limits: SandboxLimits = LIMITS,
    collect: Sequence[str] = ("out.txt",),
) -> Outcome:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "main.py").write_text(text)
    command = ["python", "{code}/main.py"]
    return run(sandbox, command, code=tmp_path / "code", limits=limits, collect=collect)


def test_auto_is_full_isolation() -> None:
    assert open_sandbox().isolation.told() == "isolation: bwrap (full)"


@pytest.mark.parametrize("call", ["Path('out.txt').touch()", "shutil.copy2(__file__, 'out.txt')"])
def test_times_that_nobody_may_set_hinder_no_honest_call(
    sandbox: Sandbox, tmp_path: Path, call: str
) -> None:
    text = f"import shutil\nfrom pathlib import Path\n{call}"
    outcome = judge(sandbox, text, tmp_path)
    assert (outcome.exit_code, [*outcome.files]) == (0, ["out.txt"]), outcome.stderr


@pytest.mark.parametrize(
    ("text", "path", "comes"),
    [
        ("os.mkdir('d'); write('d/a', 9)", "d/a", True),
        ("write('a', 1 << 20)", "a", True),
        ("write('a', (1 << 20) + 1)", "a", False),
        ("write('own', 9); os.symlink('own', 'a')", "a", False),
        ("os.mkdir('own'); write('own/a', 9); os.symlink('own', 'd')", "d/a", False),
        ("os.makedirs('a')", "a", False),
        ("os.mkfifo('a')", "a", False),
    ],
    ids=[
        "a file",
        "as large as may be",
        "too large",
        "a link",
        "behind a link",
        "a folder",
        "pipe",
    ],
)
def test_only_plain_files_are_collected(
    sandbox: Sandbox, tmp_path: Path, text: str, path: str, comes: bool
) -> None:
    """What is linked to lies in the sandbox: else it would be out of reach in any case."""
    write = "def write(path, size):\n    with open(path, 'wb') as file: file.write(bytes(size))\n"
    limits = LIMITS.model_copy(update={"output_mib": 1})

    outcome = judge(sandbox, f"import os\n{write}{text}", tmp_path, limits, [path, "other"])

    assert (outcome.exit_code, [*outcome.files]) == (0, [path] if comes else []), outcome.stderr


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "./x"])
@pytest.mark.parametrize("where", ["scratch", "collect"])
def test_paths_out_of_the_working_folder_are_refused(
    sandbox: Sandbox, tmp_path: Path, name: str, where: str
) -> None:
    given = {"scratch": {name: b""}} if where == "scratch" else {"collect": [name]}

    with pytest.raises(ValueError, match="no plain path"):
        run(sandbox, ["python", "-c", ""], code=tmp_path, limits=LIMITS, **given)


def test_bubblewrap_that_fails_is_no_verdict(full: Sandbox, tmp_path: Path) -> None:
    broken = dataclasses.replace(full, plan=dataclasses.replace(full.plan, bwrap="/bin/false"))
    with pytest.raises(IsolationError, match="did not start"):
        judge(broken, "", tmp_path)


ABLATIONS = [
    *(("bwrap", (name,)) for name in ("environment", "mount", "pid", "network", "ipc", "disk")),
    *((backend, (name,)) for backend in ("bwrap", "landlock") for name in LOCKS),
    ("bwrap", ("uid", "capabilities")),
    ("landlock", ("capabilities",)),
    # bubblewrap has it of its own; and the other two cannot be had without it
    ("landlock", ("privileges", "landlock", "seccomp")),
]


@pytest.mark.parametrize(("backend", "layers"), ABLATIONS)
def test_the_self_test_notices_a_missing_layer(backend: str, layers: tuple[str, ...]) -> None:
    if "capabilities" in layers and os.geteuid() != 0:
        pytest.skip("only root has them to begin with")
    plan = open_sandbox(backend).plan
    assert set(self_test(dataclasses.replace(plan, off=frozenset(layers)))) >= set(layers)


@pytest.fixture
def old_kernel(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A launcher that uses no more of Landlock than an older kernel has."""
    asks = "int(_LIBC.syscall(_LANDLOCK_CREATE, None, 0, 1))"
    text = isolation.LAUNCHER.read_text()
    assert asks in text
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "launcher.py").write_text(text.replace(asks, str(request.param)))
    shutil.copy(isolation.SELF_TEST, tmp_path / "old")
    monkeypatch.setattr(isolation, "LAUNCHER", tmp_path / "old" / "launcher.py")


@pytest.mark.usefixtures("old_kernel")
@pytest.mark.parametrize("old_kernel", [2, 5], indirect=True, ids=["truncation", "signals"])
def test_the_self_test_notices_what_landlock_does_not_hold() -> None:
    with pytest.raises(IsolationError, match="landlock does not hold"):
        open_sandbox("landlock")


@pytest.mark.usefixtures("old_kernel")
@pytest.mark.parametrize("old_kernel", [2], indirect=True)
def test_a_kernel_that_lets_anyone_truncate_is_told_and_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "landlock_abi", lambda: 2)
    (tmp_path / "secret").write_text("canary")
    weaker = open_sandbox("landlock")

    judge(weaker, f"import os; os.truncate({str(tmp_path / 'secret')!r}, 0)", tmp_path)

    assert (tmp_path / "secret").read_text() == "canary"
    assert "may end your processes" in weaker.isolation.told()


def test_a_kernel_that_holds_signals_back_leaves_honest_code_its_files(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    text = "import os; open('out.txt', 'w').write('abc'); os.truncate('out.txt', 1)"

    assert judge(sandbox, text, tmp_path).files == {"out.txt": b"a"}
    assert "may end your processes" not in sandbox.isolation.told()


def test_every_layer_that_is_promised_has_its_ablation() -> None:
    ablated = {layer for _, layers in ABLATIONS for layer in layers}
    assert ablated == set(open_sandbox("bwrap").isolation.layers)


def test_root_without_its_powers_uses_a_user_namespace() -> None:
    plans = [plan for plan in isolation.plans("bwrap") if plan.user_namespace]
    assert self_test(plans[0]) == {}


UNSEEN = {  # prints LEAK when it worked: from outside, it would be seen by the harm alone
    "shadow": "print('LEAK', open('/etc/shadow').read())",
    "sysrq": "open('/proc/sysrq-trigger', 'w'); print('LEAK')",
    "core_pattern": "open('/proc/sys/kernel/core_pattern', 'w'); print('LEAK')",
    "setuid": "import os; os.setuid(0); print('LEAK')",
    "pages in a pipe": """
import ctypes, os
class Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]
held = ctypes.create_string_buffer(4096)
piece = Piece(ctypes.addressof(held), 4096)
if ctypes.CDLL(None).vmsplice(os.pipe()[1], ctypes.byref(piece), 1, 0) > 0: print('LEAK')""",
}
"""All others are judged by what the host sees: test_canaries.py."""


@pytest.mark.parametrize("name", UNSEEN)
def test_is_refused(sandbox: Sandbox, name: str, tmp_path: Path) -> None:
    assert b"LEAK" not in judge(sandbox, UNSEEN[name], tmp_path).stdout


@pytest.mark.parametrize("name", UNSEEN)
def test_without_isolation_it_works(name: str, tmp_path: Path) -> None:
    place = {"sysrq": "/proc/sysrq-trigger", "core_pattern": "/proc/sys/kernel/core_pattern"}
    if name != "pages in a pipe" and not os.access(place.get(name, "/etc/shadow"), os.W_OK):
        pytest.skip("only root may do so, and not in every container")
    assert b"LEAK" in judge(open_sandbox("none"), UNSEEN[name], tmp_path).stdout


def test_a_crash_is_told_as_the_signal_that_it_was(sandbox: Sandbox, tmp_path: Path) -> None:
    assert judge(sandbox, "import ctypes; ctypes.string_at(0)", tmp_path).signal == 11


STOPPED = {
    "time": "while True: pass",
    "output": "while True: print('x' * 100000)",
    "output of errors": "import sys\nwhile True: sys.stderr.write('x' * 100000)",
    "files": "import itertools\nfor i in itertools.count(): open(str(i), 'w').close()",
    "memory": """
import os, time
for _ in range(4):
    if not os.fork():
        x = bytearray(b'x') * (300 << 20); time.sleep(60)
time.sleep(60)""",
}


def test_folders_in_folders_are_held_as_well(tmp_path: Path) -> None:
    text = "import os, time\nfor _ in range(1500): os.mkdir('a'); os.chdir('a')\ntime.sleep(60)"
    weaker = open_sandbox("landlock")

    outcome = judge(weaker, text, tmp_path)

    assert outcome.stopped == "files"
    assert run(weaker, ["python", "-c", ""], code=tmp_path / "code", limits=LIMITS).exit_code == 0


UNCOUNTED = {  # by the kernel, for a process
    "tables of pages": """
import mmap, time
m = mmap.mmap(-1, 1 << 40, mmap.MAP_PRIVATE | 0x4000, mmap.PROT_READ)
for place in range(0, 1 << 38, 2 << 20): m[place]
print('LEAK', flush=True); time.sleep(60)""",
    "sockets": """
import os, socket, time
for _ in range(9):
    if not os.fork():
        kept = [socket.socketpair() for _ in range(100)]
        for one, other in kept:
            one.setblocking(False)
            try:
                while True: one.send(bytes(1 << 16))
            except OSError: pass
        time.sleep(60)
time.sleep(2); print('LEAK', flush=True); time.sleep(60)""",
}


@pytest.mark.sandbox
@pytest.mark.parametrize("name", UNCOUNTED)
def test_memory_that_no_process_shows_counts(full: Sandbox, name: str, tmp_path: Path) -> None:
    limits = LIMITS.model_copy(update={"memory_mib": 128})

    outcome = judge(full, UNCOUNTED[name], tmp_path, limits)

    assert (outcome.stopped, outcome.stdout) == ("memory", b"")


@pytest.mark.sandbox
@pytest.mark.parametrize(
    "text",
    [
        "import asyncio; asyncio.run(asyncio.sleep(0))",
        "from multiprocessing import Pipe, Value; Pipe(); Value('i', 1).value += 1",
        "from multiprocessing import Pool; Pool(2).map(abs, [1, 2])",
        "import os; os.read(os.open('/dev/zero', os.O_RDONLY), 9)",
    ],
    ids=["asyncio", "pipe", "pool", "zero"],
)
def test_honest_ways_to_share_work(full: Sandbox, text: str, tmp_path: Path) -> None:
    outcome = judge(full, text, tmp_path)

    assert outcome.exit_code == 0, outcome.stderr


@pytest.mark.sandbox
@pytest.mark.parametrize("limit", STOPPED)
def test_is_stopped_for_its_limit(sandbox: Sandbox, limit: str, tmp_path: Path) -> None:
    limits = LIMITS.model_copy(update={"wall_s": 6, "files": 2000})
    outcome = judge(sandbox, STOPPED[limit], tmp_path, limits)
    assert outcome.stopped == limit.partition(" ")[0]


@pytest.mark.parametrize(("backend", "stopped"), [("bwrap", ""), ("landlock", "disk")])
def test_files_together_take_no_more_than_the_disk_limit(
    tmp_path: Path, backend: str, stopped: str
) -> None:
    """None is too large alone; a tmpfs is full then, and elsewhere the watch ends it."""
    text = """
import time
for number in range(5):
    with open(str(number), "wb") as file: file.write(bytes(8 << 20))
time.sleep(60)"""

    outcome = judge(open_sandbox(backend), text, tmp_path)

    assert outcome.stopped == stopped
    assert ("No space left on device" in outcome.stderr) == (backend == "bwrap")
