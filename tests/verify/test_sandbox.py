"""Hostile code is held, judged from outside; and the self-test notices every missing layer."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from promptqueue.errors import IsolationError
from promptqueue.verify import isolation
from promptqueue.verify.sandbox import Outcome, Sandbox, SandboxLimits, open_sandbox, run, self_test

LIMITS = SandboxLimits(wall_s=10, memory_mib=512, processes=48, disk_mib=32)


@pytest.fixture(scope="module", params=["bwrap", "landlock"])
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    return open_sandbox(request.param)


@pytest.fixture(scope="module")
def full() -> Sandbox:
    return open_sandbox("bwrap")


def judge(sandbox: Sandbox, text: str, tmp_path: Path, limits: SandboxLimits = LIMITS) -> Outcome:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "main.py").write_text(text)
    command = ["python", "{code}/main.py"]
    return run(sandbox, command, code=tmp_path / "code", limits=limits, collect=["out.txt"])


def test_auto_is_full_isolation() -> None:
    assert open_sandbox().isolation.told() == "isolation: bwrap (full)"


def test_files_come_back_and_links_do_not(full: Sandbox, tmp_path: Path) -> None:
    assert judge(full, "open('out.txt', 'w').write('a')", tmp_path).files == {"out.txt": b"a"}


def test_a_link_to_a_secret_is_not_collected(sandbox: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("canary")
    text = f"import os; os.symlink({str(secret)!r}, 'out.txt')"
    outcome = judge(sandbox, text, tmp_path)
    assert (outcome.exit_code, outcome.files) == (0, {})


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("import os; os.symlink(SECRETS, 'd')", "d/secret"),
        ("import os; os.makedirs('out.txt')", "out.txt"),
        ("import os; os.mkfifo('out.txt')", "out.txt"),
    ],
    ids=["behind a link", "a folder", "a pipe"],
)
def test_what_is_no_plain_file_is_not_collected(
    sandbox: Sandbox, tmp_path: Path, text: str, path: str
) -> None:
    (tmp_path / "secret").write_text("canary")
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "main.py").write_text(f"SECRETS = {str(tmp_path)!r}\n{text}\n")
    command = ["python", "{code}/main.py"]

    outcome = run(
        sandbox, command, code=tmp_path / "code", limits=LIMITS, collect=[path, "other.txt"]
    )

    assert (outcome.exit_code, outcome.files) == (0, {})


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


@pytest.mark.parametrize(
    "layer",
    ["environment", "mount", "pid", "network", "ipc", "disk", "limits", "landlock", "seccomp"],
)
def test_the_self_test_notices_a_missing_layer(full: Sandbox, layer: str) -> None:
    ablated = dataclasses.replace(full.plan, off=frozenset({layer}))
    assert layer in self_test(ablated)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has them to begin with")
def test_the_self_test_notices_root_and_its_capabilities(full: Sandbox) -> None:
    ablated = dataclasses.replace(full.plan, off=frozenset({"uid", "capabilities"}))
    assert {"uid", "capabilities"} <= set(self_test(ablated))


def test_root_without_its_powers_uses_a_user_namespace() -> None:
    plans = [plan for plan in isolation.plans("bwrap") if plan.user_namespace]
    assert self_test(plans[0]) == {}


HELD = {  # what it tries; it prints LEAK when that worked
    "environ": "import os; print('LEAK' if 'PQ_SECRET' in os.environ else '')",
    "proc_environ": """
import glob
for p in glob.glob('/proc/[0-9]*/environ'):
    try:
        print('LEAK' if b'PQ_SECRET' in open(p, 'rb').read() else '')
    except OSError: pass""",
    "read_secret": "print('LEAK', open(SECRET).read())",
    "shadow": "print('LEAK', open('/etc/shadow').read())",
    "code": "import sys; open(sys.argv[0], 'w').write('LEAK'); print('LEAK')",
    "host_write": "open(SECRET, 'w').write('x'); print('LEAK')",
    "host_delete": "import os; os.remove(SECRET); print('LEAK')",
    "dotdot": "print('LEAK', open('../../../../..' + SECRET).read())",
    "proc_root": "print('LEAK', open('/proc/1/root' + SECRET).read())",
    "self_root": "print('LEAK', open('/proc/self/root' + SECRET).read())",
    "hardlink": "import os; os.link(SECRET, 'x'); print('LEAK')",
    "venv": "import site; open(site.__file__, 'a').write(''); print('LEAK')",
    "tcp": "import socket; socket.create_connection(('127.0.0.1', PORT)); print('LEAK')",
    "udp": "import socket; socket.socket(2, 2); print('LEAK')",
    "unix": "import socket; socket.socket(1, 1); print('LEAK')",
    "netlink": "import socket; socket.socket(16, 3); print('LEAK')",
    "memfd": "import os; os.memfd_create('x'); print('LEAK')",
    "unshare": "import ctypes; print('LEAK' if not C.unshare(0x10000000) else '')",
    "io_uring": "print('LEAK' if C.syscall(425, 1, ctypes.create_string_buffer(120)) >= 0 else '')",
    "keyctl": "print('LEAK' if C.syscall(250, 0, -3, 1) >= 0 else '')",
    "shm": "print('LEAK' if C.shmget(0, 1 << 30, 0o1600) >= 0 else '')",
    "ptrace_parent": "import os; print('LEAK' if C.ptrace(16, os.getppid(), 0, 0) >= 0 else '')",
    "mount": "print('LEAK' if not C.mount(b'x', b'/tmp', b'tmpfs', 0, None) else '')",
    "chroot": "import os; os.chroot('/tmp'); print('LEAK')",
    "setuid": "import os; os.setuid(0); print('LEAK')",
    "kill_sleeper": "import os; os.kill(SLEEPER, 9); print('LEAK')",
    "sysrq": "open('/proc/sysrq-trigger', 'w').write('h'); print('LEAK')",
    "core_pattern": "open('/proc/sys/kernel/core_pattern', 'w'); print('LEAK')",
    "many_fds": "f = [open('/dev/null') for _ in range(2000)]; print('LEAK')",
    "big_private": "x = bytearray(3 << 30); print('LEAK')",
    "fork_bomb": """
import os, time
for _ in range(300):
    if not os.fork(): time.sleep(30)
time.sleep(3)
print('LEAK')""",
    "chmod": "import os; os.chmod(SECRET, 0o777)",
    "utime": "import os; os.utime(SECRET, (1, 1))",
    "segfault": "import ctypes; ctypes.string_at(0)",
    "daemon": """
import os, time
if not os.fork():
    os.setsid()
    while True:
        open('beat', 'a').write('x'); time.sleep(.01)""",
}


@pytest.mark.parametrize("name", HELD)
def test_is_held(
    sandbox: Sandbox, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PQ_SECRET", "canary")
    secret = tmp_path / "secret"
    secret.write_text("canary")
    before = secret.stat()
    with socket.create_server(("127.0.0.1", 0)) as listener, subprocess.Popen(["sleep", "60"]) as s:
        head = (
            f"import ctypes; C = ctypes.CDLL(None); SECRET = {str(secret)!r}; SLEEPER = {s.pid}; "
        )
        outcome = judge(
            sandbox, f"{head}PORT = {listener.getsockname()[1]}\n{HELD[name]}", tmp_path
        )
        alive = s.poll() is None
        s.kill()
    assert alive
    if name == "fork_bomb" and sandbox.isolation.backend == "landlock" and os.geteuid() == 0:
        # RLIMIT_NPROC does not bind uid 0: the watch alone ends it, by what it counts first
        assert outcome.stopped in ("processes", "memory")
        return
    assert b"LEAK" not in outcome.stdout
    assert secret.read_text() == "canary"
    assert (secret.stat().st_mode, secret.stat().st_mtime) == (before.st_mode, before.st_mtime)


STOPPED = {
    "time": "while True: pass",
    "output": "while True: print('x' * 100000)",
    "files": "import itertools\nfor i in itertools.count(): open(str(i), 'w').close()",
    "memory": """
import os, time
for _ in range(4):
    if not os.fork():
        x = bytearray(b'x') * (300 << 20); time.sleep(60)
time.sleep(60)""",
}


@pytest.mark.sandbox
@pytest.mark.parametrize("limit", STOPPED)
def test_is_stopped_for_its_limit(sandbox: Sandbox, limit: str, tmp_path: Path) -> None:
    limits = LIMITS.model_copy(update={"wall_s": 6, "files": 2000})
    begin = time.monotonic()
    outcome = judge(sandbox, STOPPED[limit], tmp_path, limits)
    assert outcome.stopped == limit
    assert time.monotonic() - begin < 30  # not a measure of speed: it must not hang
