"""Runs the trusted pytest over the built-in checks and the pack's contract, and reads its findings.

It is a process of its own: what the contract imports (torch, say) stays out of the command, and a
crash of it is an error that is told.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from promptqueue.errors import PromptQueueError, UsageError
from promptqueue.extras import install_command
from promptqueue.queue.inputs import Value
from promptqueue.queue.load import LoadedQueue
from promptqueue.queue.review import marked_requirements
from promptqueue.queue.verification import Verification
from promptqueue.verify.report import Check, Gate
from promptqueue.verify.scratch import scratch_folder

_BUILTIN = Path(__file__).with_name("builtin")
_SLACK_S = 1800.0
"""What checks may take for themselves, such as a reference that they train on a slow machine."""
_NOTHING_RAN = 5
_FINE = (0, 1, _NOTHING_RAN)
"""All passed, some failed, none were there."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which checks to run, in pytest's own words."""

    keyword: str = ""
    """`-k`: only tests that this expression fits."""
    first_only: bool = False
    """`-x`: stop at the first that fails."""
    requirements: Sequence[str] = ()
    """Of the gate contract, only tests that guard one of these; all if empty."""
    gates: Sequence[Gate] = ("import", "contract", "pipeline")
    """Only these; of none, all tests of the pack that guard one of `requirements`."""


@dataclass(slots=True)
class Contract:
    """What the trusted pytest found."""

    checks: list[Check] = field(default_factory=list)
    tampered: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Completed:
    """How a pytest ended."""

    code: int
    output: str
    """Standard output and error."""


class Runner(Protocol):
    """Whatever runs the trusted pytest, in a session of its own."""

    def __call__(
        self,
        arguments: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        time_s: float | None = None,
    ) -> Completed:
        """Run `python -m pytest` with these arguments to its end.

        Raises:
            TookTooLong: after `time_s` it was ended.
        """
        ...


class TookTooLong(Exception):
    """The trusted pytest used up its time."""


def run_pytest(
    arguments: Sequence[str], cwd: Path, env: Mapping[str, str], time_s: float | None = None
) -> Completed:
    """Run pytest in a process that is started for it; raises as `Runner` does."""
    parent = str(os.getpid())
    try:
        done = subprocess.run(
            [sys.executable, "-m", "promptqueue.verify.pytest_process", parent, *arguments],
            cwd=cwd,
            env=env,
            capture_output=True,
            check=False,
            timeout=time_s,
            start_new_session=True,  # Ctrl-C is the business of who called, who ends it if need be
        )
    except subprocess.TimeoutExpired as error:
        raise TookTooLong from error
    return Completed(done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace"))


def run_contract(
    loaded: LoadedQueue,
    code: Path,
    *,
    seed: int,
    isolation: str,
    selection: Selection,
    inputs: Mapping[str, Value],
    runner: Runner = run_pytest,
) -> Contract:
    """Run the checks on a copy of the code.

    Args:
        loaded: the pack.
        code: folder with the copy.
        seed: of all fresh inputs.
        isolation: backend to ask for.
        selection: which of them.
        inputs: of the queue.
        runner: of pytest.

    Raises:
        UsageError: pytest is not installed, or a file of the contract cannot be collected.
        PromptQueueError: pytest itself broke, or never ended.
    """
    files = _files(loaded, selection)
    if not files:
        return Contract()
    with scratch_folder() as scratch:
        findings = scratch / "findings.jsonl"
        arguments = [
            *("-c", str(_BUILTIN / "pytest.ini")),
            *("--rootdir", str(loaded.folder.resolve()), "-p", "promptqueue.verify.plugin"),
            *("--candidate", str(code), "--private-copy", "--queue", str(loaded.path.resolve())),
            *("--challenge-seed", str(seed), "--isolation", isolation, "--findings", str(findings)),
            *("--inputs", json.dumps(inputs, ensure_ascii=False)),
            *(word for gate in selection.gates for word in ("--gate", gate)),
            *(word for name in selection.requirements for word in ("--requirement", name)),
            *(("-k", selection.keyword) if selection.keyword else ()),
            *(("-x",) if selection.first_only else ()),
            *files,
        ]
        done = _ran(runner, arguments, scratch, loaded.queue.verify)
        if done.code == _NOTHING_RAN and selection.keyword:
            raise UsageError(f"-k {selection.keyword!r} fits no check; see their names with --json")
        ran = findings.exists() or done.code == _NOTHING_RAN
        if done.code not in _FINE or not ran:  # Python itself ends with 1, too
            raise _broken(done.code, done.output)
        return _read(findings)


def _ran(
    runner: Runner, arguments: Sequence[str], scratch: Path, settings: Verification
) -> Completed:
    """Run pytest; the code has limits of its own, so that only a check can hang."""
    pipeline_s = settings.pipeline.wall if settings.pipeline else 0
    time_s = settings.limits.wall_s + pipeline_s + _SLACK_S
    try:
        return runner(arguments, scratch, _environment(), time_s)
    except TookTooLong as error:
        raise PromptQueueError(
            f"the trusted pytest did not end within {time_s:g} s, of which the code has "
            f"{time_s - _SLACK_S:g} s (verify: limits and pipeline): a check hangs; "
            "find it with -k or -x"
        ) from error


def _files(loaded: LoadedQueue, selection: Selection) -> list[str]:
    asked = {*selection.requirements}
    checks = dict.fromkeys(
        check
        for step in loaded.queue.steps
        for check in step.checks
        # files that guard none of them need not even be imported
        if not asked or asked & step.requirements.keys() or asked & _guarded(loaded.folder / check)
    )
    files = []
    if "import" in selection.gates:
        files.append(str(_BUILTIN / "import_check.py"))
    if "contract" in selection.gates or not selection.gates:
        files += [str((loaded.folder / check).resolve()) for check in checks]
    if "pipeline" in selection.gates and loaded.queue.verify.pipeline is not None:
        files.append(str(_BUILTIN / "pipeline_check.py"))
    return files


def _guarded(check: Path) -> set[str]:
    return marked_requirements(check.read_text("utf-8"))


def _environment() -> dict[str, str]:
    """Return the environment, without what would change pytest's mind."""
    foreign = ("PYTEST_", "PYTHONOPTIMIZE")  # the latter leaves out what helpers assert
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def _read(findings: Path) -> Contract:
    contract = Contract()
    lines = findings.read_text("utf-8").splitlines() if findings.exists() else []
    for entry in map(json.loads, lines):
        if "tampered" in entry:
            contract.tampered = tuple(entry["tampered"])
        else:
            contract.checks.append(_check(entry))
    return contract


def _check(entry: dict[str, Any]) -> Check:
    lists = {name: tuple(entry[name]) for name in ("requirements", "reached")}
    return Check(**{**entry, **lists})


def _broken(code: int, output: str) -> PromptQueueError:
    said = [line for line in output.splitlines() if line.strip()]
    if "No module named pytest" in output:
        return UsageError(f"pytest is not installed: {install_command('verify')}")
    reasons = [line for line in said if line.startswith(("E  ", "ERROR"))] or said
    text = " | ".join(line.strip() for line in reasons[-5:])
    if code in (2, 4):  # interrupted by errors of collection; wrong usage
        return UsageError(f"the contract cannot be run: {text}")
    return PromptQueueError(f"the trusted pytest broke (exit code {code}): {text}")
