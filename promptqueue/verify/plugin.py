"""The trusted pytest's side: fixtures for a pack's contract, and what each test found, as data.

`promptqueue verify` uses it; so can you: `pytest -p promptqueue.verify.plugin --candidate FOLDER
--queue QUEUE CHECKS`. It never imports the code under test.
"""

from __future__ import annotations

import importlib
import json
import random
import re
import sys
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from promptqueue.queue.load import LoadedQueue, load_queue
from promptqueue.verify.candidate import Candidate, CandidateError, fresh_seed, modules_of
from promptqueue.verify.report import Check
from promptqueue.verify.sandbox import Sandbox, open_sandbox, run
from promptqueue.verify.scratch import scratch_folder
from promptqueue.verify.snapshot import take_snapshot
from promptqueue.verify.static import outputs_of

Evidence = Callable[[str], None]
_NOTES = pytest.StashKey[list[str]]()
_WAITING = pytest.StashKey[dict[str, pytest.Item]]()
"""Of the configuration: the tests that have not run yet."""
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
"""Differs from run to run; the same code and seed give the same report."""
_OUTCOMES = {"passed": "passed", "failed": "failed", "skipped": "skipped"}


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """What became of the queue's pipeline."""

    failure: str
    """Why it did not run to its end, in one line; empty if it did."""
    files: Mapping[str, bytes]
    """What it wrote, of the files that the queue names."""
    expected: tuple[str, ...]
    printed: str
    """Its standard output and error."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("promptqueue")
    group.addoption("--candidate", metavar="FOLDER", help="the generated code")
    group.addoption("--private-copy", action="store_true", help="of it: nobody will change it")
    group.addoption("--queue", metavar="QUEUE", help="the queue file it came from")
    group.addoption("--challenge-seed", type=int, default=None, help="of all fresh inputs")
    group.addoption("--isolation", default="auto", choices=["auto", "bwrap", "landlock", "none"])
    group.addoption("--findings", metavar="FILE", help="write what each test found, as JSON lines")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requirement(id, grade='outcome'): guards a requirement")
    config.addinivalue_line("markers", "gate(name): belongs to a gate of verify")
    if not (config.getoption("--candidate") and config.getoption("--queue")):
        raise pytest.UsageError("give --candidate FOLDER and --queue QUEUE")
    if config.getoption("--challenge-seed") is None:
        config.option.challenge_seed = fresh_seed()


def pytest_report_header(config: pytest.Config) -> str:
    return f"challenge seed: {config.option.challenge_seed}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Ask for every declared module that is there."""
    if "module_name" in metafunc.fixturenames:
        folder = Path(metafunc.config.getoption("--candidate"))
        declared = modules_of([*outputs_of(load_queue(_queue_path(metafunc.config)).queue)])
        there = [m for m in declared if (folder / f"{m.replace('.', '/')}.py").exists()]
        metafunc.parametrize("module_name", there)


@pytest.fixture(scope="session")
def loaded_queue(pytestconfig: pytest.Config) -> LoadedQueue:
    """Return the queue that the code came from."""
    return load_queue(_queue_path(pytestconfig))


@pytest.fixture(scope="session")
def sandbox(pytestconfig: pytest.Config) -> Sandbox:
    """Return the sandbox that the code runs in."""
    return open_sandbox(pytestconfig.getoption("--isolation"))


@pytest.fixture(scope="session")
def code_folder(pytestconfig: pytest.Config, loaded_queue: LoadedQueue) -> Iterator[Path]:
    """Return a private copy of the declared files."""
    source = Path(pytestconfig.getoption("--candidate"))
    if pytestconfig.getoption("--private-copy"):
        yield source
        return
    with scratch_folder() as scratch:
        scratch.chmod(0o755)  # whoever runs the code is another user
        folder = scratch / "code"
        take_snapshot(source, [*outputs_of(loaded_queue.queue)]).write_to(folder)
        yield folder


@pytest.fixture(scope="session")
def candidate(
    pytestconfig: pytest.Config, loaded_queue: LoadedQueue, sandbox: Sandbox, code_folder: Path
) -> Iterator[Candidate]:
    """Return the code under test, which answers questions: `candidate.ask("probes.name", …)`."""
    with Candidate(
        sandbox,
        code_folder,
        _probes_folder(loaded_queue),
        loaded_queue.queue.verify,
        pytestconfig.option.challenge_seed,
    ) as candidate:
        yield candidate
    _write(pytestconfig, {"tampered": sorted(candidate.tampered)})


@pytest.fixture(scope="session")
def reference(loaded_queue: LoadedQueue) -> Callable[[str], ModuleType]:
    """Return what imports a module of the pack's reference: `reference("model")`."""
    folder = loaded_queue.queue.reference
    if folder is None:
        raise pytest.UsageError(f"{loaded_queue.path} names no reference")
    root = (loaded_queue.folder / folder).resolve()
    package = ""
    while (root / "__init__.py").exists():
        package = f"{root.name}.{package}"
        root = root.parent
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    return lambda name: importlib.import_module(package + name)


@pytest.fixture
def challenge(request: pytest.FixtureRequest) -> random.Random:
    """Return a generator of fresh inputs: nobody knew its seed when the code was written."""
    name = zlib.crc32(request.node.name.encode())
    return random.Random((request.config.option.challenge_seed << 32) + name)  # noqa: S311


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Evidence:
    """Return what notes a measured fact: `evidence("sigma 0.048 measured, 0.010 asked")`."""
    notes: list[str] = request.node.stash.setdefault(_NOTES, [])
    return notes.append


@pytest.fixture(scope="session")
def pipeline_inputs() -> Mapping[str, bytes]:
    """Return the files that the pipeline finds in its folder; a pack's conftest may override."""
    return {}


@pytest.fixture(scope="session")
def pipeline(
    loaded_queue: LoadedQueue,
    sandbox: Sandbox,
    code_folder: Path,
    pipeline_inputs: Mapping[str, bytes],
) -> PipelineResult:
    """Run the queue's pipeline once, and return what it left."""
    settings = loaded_queue.queue.verify
    asked = settings.pipeline
    if asked is None:
        raise pytest.UsageError(f"{loaded_queue.path} has no verify: pipeline")
    outcome = run(
        sandbox,
        asked.command,
        code=code_folder,
        limits=settings.limits.model_copy(update={"wall_s": asked.wall}),
        scratch=pipeline_inputs,
        env={"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
        collect=asked.files,
    )
    printed = outcome.stdout.decode("utf-8", "replace") + outcome.stderr
    failure = ""
    if outcome.stopped:
        failure = outcome.detail
    elif outcome.exit_code != 0:
        said = [line for line in outcome.stderr.splitlines() if line.strip()]
        failure = f"it ended with exit code {outcome.exit_code}: {said[-1] if said else ''}"
    return PipelineResult(failure, dict(outcome.files), asked.files, printed)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Remember all tests, before -k leaves some out."""
    config.stash[_WAITING] = {item.nodeid: item for item in items}


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell which tests did not run: what they guard is not verified, whatever others say of it."""
    for item in session.config.stash.get(_WAITING, {}).values():
        _write(session.config, asdict(_described(item, "skipped", "not run")))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.when == "call" or (call.when == "setup" and not report.passed):
        item.config.stash[_WAITING].pop(item.nodeid, None)
        _write(item.config, asdict(_check(item, call, report)))
    return report


def _check(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> Check:
    notes, error = item.stash.get(_NOTES, []), call.excinfo.value if call.excinfo else None
    outcome = _OUTCOMES[report.outcome]
    if outcome == "failed" and not isinstance(error, AssertionError):
        outcome = "error"  # a fault of the check or its fixtures, not a verdict on the code
    told = str(error).strip() if error is not None else ""
    line = next((each for each in told.splitlines() if each.strip()), type(error).__name__)
    if outcome in ("error", "skipped"):
        notes = [f"{type(error).__name__}: {line}" if outcome == "error" else f"skipped: {line}"]
    elif error is not None and (isinstance(error, CandidateError) or not notes):
        notes = [line]
    at = error.at or error.about if isinstance(error, CandidateError) else ""
    evidence = _ADDRESS.sub("", next(iter(notes), ""))
    detail = "" if isinstance(error, CandidateError) else _ADDRESS.sub("", report.longreprtext)
    return replace(_described(item, outcome, evidence), at=at, detail=detail)


def _described(item: pytest.Item, outcome: str, evidence: str) -> Check:
    gate, markers = item.get_closest_marker("gate"), [*item.iter_markers("requirement")]
    return Check(
        name=f"{item.path.name}::{item.name}",
        requirements=tuple(str(marker.args[0]) for marker in reversed(markers)),
        grade=markers[0].kwargs.get("grade", "outcome") if markers else "outcome",
        outcome=outcome,  # type: ignore[arg-type]
        evidence=evidence,
        gate=gate.args[0] if gate else "contract",
    )


def _write(config: pytest.Config, entry: Mapping[str, Any]) -> None:
    path = config.getoption("--findings")
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def _queue_path(config: pytest.Config) -> Path:
    return Path(config.getoption("--queue"))


def _probes_folder(loaded: LoadedQueue) -> Path:
    """Return the folder of the checks: probes lie beside them."""
    checks = [check for step in loaded.queue.steps for check in step.checks]
    return (loaded.folder / checks[0]).parent if checks else loaded.folder
