"""What looks like a wall and is none, each with a control; found by experiment."""

from __future__ import annotations

import dataclasses
import os
import secrets
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from promptqueue.verify import isolation, watch
from promptqueue.verify.sandbox import Outcome, Sandbox, SandboxLimits, open_sandbox, run

pytestmark = pytest.mark.sandbox
LIMITS = SandboxLimits(wall_s=10, memory_mib=512, processes=48, disk_mib=16)


def without(sandbox: Sandbox, *layers: str) -> Sandbox:
    plan = dataclasses.replace(sandbox.plan, off=frozenset(layers))
    return dataclasses.replace(sandbox, plan=plan)


def in_user_namespace() -> Sandbox:
    """Return a plain user's sandbox, in which the code owns everything, for root as well."""
    plan = next(each for each in isolation.plans("bwrap") if each.user_namespace)
    return dataclasses.replace(open_sandbox("bwrap"), plan=plan)


def judge(sandbox: Sandbox, text: str, tmp_path: Path, limits: SandboxLimits = LIMITS) -> Outcome:
    code = written(tmp_path, text)
    return run(sandbox, ["python", "{code}/main.py"], code=code, limits=limits)


def written(tmp_path: Path, text: str) -> Path:
    """Put a program where every user may read it, unlike `tmp_path` itself."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "main.py").write_text(text)
    return code


@pytest.mark.parametrize("walls", ["all", "without"])
def test_the_first_process_inside_has_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, walls: str
) -> None:
    """`bwrap --clearenv` clears the environment of the command, not that of bwrap's own init.

    Landlock is off, for it would keep the file closed in any case.
    """
    token = secrets.token_hex(16)
    monkeypatch.setenv("PQ_SECRET", token)
    layers = {"landlock", "environment"} if walls == "without" else {"landlock"}

    outcome = judge(
        without(in_user_namespace(), *layers), "print(open('/proc/1/environ').read())", tmp_path
    )

    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert (token in outcome.stdout.decode()) == (walls == "without")


@pytest.mark.parametrize("backend", ["bwrap", "landlock", "none"])
def test_the_code_gets_no_variable_of_whoever_judges_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setenv("PQ_SECRET", "hidden")

    outcome = judge(open_sandbox(backend), "import os; print(*os.environ)", tmp_path)

    assert "OMP_NUM_THREADS" in outcome.stdout.decode().split()
    assert "PQ_SECRET" not in outcome.stdout.decode()


_PARENT = """
import os, sys
from pathlib import Path
from promptqueue.verify.sandbox import SandboxLimits, open_sandbox, run

os.environ.pop("PQ_SECRET")
command = ["python", "{code}/main.py", str(os.getpid())]
sandbox = open_sandbox(sys.argv[1])
print(run(sandbox, command, code=Path(sys.argv[2]), limits=SandboxLimits(wall_s=10)).stdout)
"""


@pytest.mark.parametrize("backend", ["bwrap", "landlock", "none"])
def test_a_secret_that_was_deleted_from_the_environment_stays_secret(
    tmp_path: Path, backend: str
) -> None:
    """The kernel goes on to show a process as it was started, whatever it deleted since."""
    token = secrets.token_hex(16)
    text = "import sys; print('begun'); print(open(f'/proc/{sys.argv[1]}/environ').read())"
    code = written(tmp_path, text)

    done = subprocess.run(
        [sys.executable, "-c", _PARENT, backend, str(code)],
        env={**os.environ, "PQ_SECRET": token},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "begun" in done.stdout
    assert (token in done.stdout) == (backend == "none")


@pytest.mark.skipif(os.geteuid() != 0, reason="a plain user is bound anyway")
@pytest.mark.parametrize("walls", ["all", "without"])
def test_root_is_bound_by_the_number_of_processes(tmp_path: Path, walls: str) -> None:
    """RLIMIT_NPROC lets user 0 of the host pass, with or without capabilities."""
    text = "import os, time\nfor _ in range(100):\n    if not os.fork(): time.sleep(60)\n"
    text += "time.sleep(5)"
    sandbox = open_sandbox("bwrap")

    outcome = judge(without(sandbox, "uid") if walls == "without" else sandbox, text, tmp_path)

    assert outcome.stopped == ("processes" if walls == "without" else "")
    assert "BlockingIOError" in outcome.stderr or walls == "without"


@pytest.fixture
def busy_user() -> Iterator[None]:
    with ExitStack() as stack:
        for _ in range(20):
            sleeper = stack.enter_context(subprocess.Popen(["sleep", "60"]))
            stack.callback(sleeper.kill)
        yield


@pytest.mark.usefixtures("busy_user")
@pytest.mark.parametrize("backend", ["bwrap", "landlock"])
def test_other_processes_of_the_user_do_not_count(tmp_path: Path, backend: str) -> None:
    text = "import os\nfor _ in range(3):\n    if not os.fork(): os._exit(0)\n"
    limits = LIMITS.model_copy(update={"processes": 8})

    outcome = judge(open_sandbox(backend), text, tmp_path, limits)

    assert (outcome.exit_code, outcome.stderr) == (0, "")


PLACES = ("/", "/dev", "/dev/shm", "/tmp", "/scratch")


@pytest.mark.parametrize("walls", ["all", "without"])
@pytest.mark.parametrize("place", PLACES)
def test_no_folder_takes_more_than_its_share(tmp_path: Path, place: str, walls: str) -> None:
    """Each mount of bubblewrap is a writable tmpfs without a limit, where nothing else is said.

    Measured by the host.
    """
    layers = {"landlock", "disk"} if walls == "without" else {"landlock"}
    text = f"""
import time
for number in range(5):  # a single one would be too large
    try:
        with open({place!r} + f"/big{{number}}", "wb") as file:
            for _ in range(8): file.write(bytes(1 << 20)); file.flush()
    except OSError:
        pass
print("tried", flush=True)
time.sleep(60)
"""
    code = written(tmp_path, text)
    with without(in_user_namespace(), *layers).start(
        ["python", "{code}/main.py"], code=code, limits=LIMITS
    ) as process:
        assert select.select([process.stdout], [], [], 30)[0]
        roots = [Path(f"/proc/{pid}/root{place}") for pid in watch.tree(process.pid)]
        taken = max(sum(each.stat().st_size for each in root.glob("big*")) for root in roots)

    assert (taken > LIMITS.disk_mib << 20) == (walls == "without")


@pytest.mark.parametrize("place", ["/dev/shm", "/tmp", "/scratch"])
def test_files_are_counted_in_every_folder(tmp_path: Path, place: str) -> None:
    """A tmpfs has a size, but bubblewrap gives it no limit of files."""
    text = f"import itertools\nfor i in itertools.count(): open(f'{place}/{{i}}', 'w').close()"
    limits = LIMITS.model_copy(update={"files": 2000})

    assert judge(open_sandbox("bwrap"), text, tmp_path, limits).stopped == "files"


def test_what_lies_in_a_closed_folder_can_be_given_to_read(tmp_path: Path) -> None:
    """bubblewrap makes missing parents 0700, where another user, as root's code is, is locked out.

    And were the user changed before bubblewrap starts, nothing below /root could be given at all.
    """
    closed = tmp_path / "closed"
    (closed / "deep").mkdir(parents=True)
    (closed / "deep" / "given").write_text("given")
    closed.chmod(0o700)
    code = written(tmp_path, f"print(open({str(closed)!r} + '/deep/given').read())")

    outcome = run(
        open_sandbox("bwrap"),
        ["python", "{code}/main.py"],
        code=code,
        limits=LIMITS,
        readable=[closed / "deep"],
    )

    assert outcome.stdout == b"given\n"
