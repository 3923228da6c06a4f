"""The trusted pytest's side: fixtures for a pack's contract, and what each test found, as data.

`promptqueue verify` uses it; so can you: `pytest -p promptqueue.verify.plugin --candidate FOLDER
--queue QUEUE CHECKS`. It never imports the code under test.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import random
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from promptqueue.queue.inputs import Value, known_inputs
from promptqueue.queue.load import LoadedQueue, load_queue
from promptqueue.verify import keeper
from promptqueue.verify.candidate import Candidate, fresh_seed
from promptqueue.verify.findings import (
    CANDIDATE,
    COPY,
    NOTES,
    last_place,
    pytest_collection_modifyitems,
    pytest_runtest_makereport,
    pytest_sessionfinish,
    write_finding,
)
from promptqueue.verify.sandbox import Sandbox, open_sandbox, run
from promptqueue.verify.scratch import scratch_folder
from promptqueue.verify.snapshot import Copy, copy_at, take_snapshot
from promptqueue.verify.static import outputs_of

__all__ = ["pytest_collection_modifyitems", "pytest_runtest_makereport", "pytest_sessionfinish"]
Evidence = Callable[[str], None]
_MOST_REPLACED = 20
"""Functions that are named: one is warning enough."""
_PIPELINE_ENV = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}


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
    at: str = ""
    """File and line of the code where it failed, as far as they are known."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("promptqueue")
    group.addoption("--candidate", metavar="FOLDER", help="the generated code")
    group.addoption("--private-copy", action="store_true", help="of it: nobody will change it")
    group.addoption("--queue", metavar="QUEUE", help="the queue file it came from")
    group.addoption("--challenge-seed", type=_seed, default=None, help="of all fresh inputs")
    group.addoption("--isolation", default="auto", choices=["auto", "bwrap", "landlock", "none"])
    group.addoption("--inputs", metavar="JSON", help="values of the queue's inputs")
    group.addoption("--gate", action="append", default=[], help="only tests of it; repeatable")
    group.addoption(
        "--requirement",
        metavar="ID",
        action="append",
        default=[],
        help="only tests that guard it; may be given repeatedly",
    )
    group.addoption("--findings", metavar="FILE", help="write what each test found, as JSON lines")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "requirement(id, grade='outcome', visibility='visible'): guards it"
    )
    config.addinivalue_line("markers", "about(file, pattern): where a reader of a failure looks")
    config.addinivalue_line("markers", "gate(name): belongs to a gate of verify")
    if not (config.getoption("--candidate") and config.getoption("--queue")):
        raise pytest.UsageError("give --candidate FOLDER and --queue QUEUE")
    if config.getoption("--challenge-seed") is None:
        config.option.challenge_seed = fresh_seed()
    # what checks share lies beside them, and is imported by its name
    sys.path.insert(0, str(_probes_folder(load_queue(_queue_path(config))).resolve()))


def pytest_report_header(config: pytest.Config) -> str:
    return f"challenge seed: {config.option.challenge_seed}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Ask for every declared module that is there."""
    if "module_name" in metafunc.fixturenames:
        folder = Path(metafunc.config.getoption("--candidate"))
        declared = _modules_of([*outputs_of(load_queue(_queue_path(metafunc.config)).queue)])
        there = [name for name in declared if _is_there(folder.joinpath(*name.split(".")))]
        metafunc.parametrize("module_name", there)


@pytest.fixture(scope="session")
def loaded_queue(pytestconfig: pytest.Config) -> LoadedQueue:
    """Return the queue that the code came from."""
    return load_queue(_queue_path(pytestconfig))


@pytest.fixture(scope="session")
def inputs(pytestconfig: pytest.Config, loaded_queue: LoadedQueue) -> Mapping[str, Value]:
    """Return the values of the queue's inputs that the prompts were made with."""
    given = json.loads(pytestconfig.getoption("--inputs") or "{}")
    return known_inputs(given, loaded_queue.queue)


@pytest.fixture(scope="session")
def sandbox(pytestconfig: pytest.Config) -> Sandbox:
    """Return the sandbox that the code runs in."""
    return open_sandbox(pytestconfig.getoption("--isolation"))


@pytest.fixture(scope="session")
def code(pytestconfig: pytest.Config, loaded_queue: LoadedQueue) -> Iterator[Copy]:
    """Return a private copy of the files."""
    source = Path(pytestconfig.getoption("--candidate"))
    with contextlib.ExitStack() as stack:
        if pytestconfig.getoption("--private-copy"):
            copy = copy_at(source)
        else:
            scratch = stack.enter_context(scratch_folder())
            scratch.chmod(0o755)  # whoever runs the code is another user
            snapshot = take_snapshot(source, [*outputs_of(loaded_queue.queue)])
            copy = snapshot.write_to(scratch / "code")
        pytestconfig.stash[COPY] = copy
        yield copy


@pytest.fixture(scope="session")
def candidate(
    pytestconfig: pytest.Config, loaded_queue: LoadedQueue, sandbox: Sandbox, code: Copy
) -> Iterator[Candidate]:
    """Return the code under test, which answers questions: `candidate.ask("probes.name", …)`."""
    settings, seed = loaded_queue.queue.verify, pytestconfig.option.challenge_seed
    worker = keeper.worker_for(sandbox, code, settings)
    with Candidate(worker, _probes_folder(loaded_queue), settings, seed) as candidate:
        pytestconfig.stash[CANDIDATE] = candidate
        yield candidate
    write_finding(pytestconfig, {"tampered": sorted(candidate.tampered)[:_MOST_REPLACED]})


@pytest.fixture(scope="session", autouse=True)
def _worker_starts(request: pytest.FixtureRequest) -> None:
    """Let the worker preload while the first tests prepare, if any test has questions.

    What goes wrong here goes wrong again, and is told, where a test asks.
    """
    if any("candidate" in getattr(each, "fixturenames", ()) for each in request.session.items):
        with contextlib.suppress(Exception):
            request.getfixturevalue("candidate").start()


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


@pytest.fixture(scope="session")
def fresh(pytestconfig: pytest.Config) -> Callable[[str], random.Random]:
    """Return what gives a generator of fresh inputs to a name, for fixtures that tests share.

    The same seed and name give the same inputs, whatever else is asked.
    """
    seed = pytestconfig.option.challenge_seed << 32
    return lambda name: random.Random(seed + zlib.crc32(name.encode()))  # noqa: S311


@pytest.fixture
def challenge(
    request: pytest.FixtureRequest, fresh: Callable[[str], random.Random]
) -> random.Random:
    """Return a generator of fresh inputs: nobody knew its seed when the code was written."""
    return fresh(request.node.name)


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Evidence:
    """Return what notes a measured fact: `evidence("sigma 0.048 measured, 0.010 asked")`."""
    notes: list[str] = request.node.stash.setdefault(NOTES, [])
    return notes.append


@pytest.fixture(scope="session")
def pipeline_inputs() -> Mapping[str, bytes]:
    """Return the files that the pipeline finds in its folder; a pack's conftest may override."""
    return {}


@pytest.fixture(scope="session")
def pipeline(
    loaded_queue: LoadedQueue,
    sandbox: Sandbox,
    code: Copy,
    pipeline_inputs: Mapping[str, bytes],
) -> PipelineResult:
    """Run the queue's pipeline once, and return what it left."""
    settings = loaded_queue.queue.verify
    asked = settings.pipeline
    if asked is None:
        raise pytest.UsageError(f"{loaded_queue.path} has no verify: pipeline")
    for word in asked.command:
        path = word.removeprefix("{code}/")
        if path != word and not (code.folder / path).exists():
            return PipelineResult(f"{path} is missing", {}, asked.files, "")
    files = "/".join(["{code}", *filter(None, code.package.split("."))])
    outcome = run(
        sandbox,
        [word.replace("{code}", files) for word in asked.command],
        code=code.root,
        limits=settings.limits.model_copy(update={"wall_s": asked.wall}),
        scratch=pipeline_inputs,
        env=_PIPELINE_ENV | ({"PYTHONPATH": "{code}"} if code.package else {}),
        collect=asked.files,
    )
    printed = outcome.stdout.decode("utf-8", "replace") + outcome.stderr
    failure = ""
    if outcome.stopped:
        failure = outcome.detail
    elif outcome.exit_code != 0:
        said = [line for line in outcome.stderr.splitlines() if line.strip()]
        status = outcome.exit_code
        how = f"ended with exit code {status}" if status is not None else f"was {outcome.detail}"
        failure = f"it {how}: {said[-1] if said else ''}"
        for root in (sys.prefix, sys.base_prefix):  # where this machine keeps them says nothing
            failure = failure.replace(root, "…")
    at = last_place(outcome.stderr, code.folder) if failure else ""
    return PipelineResult(failure, dict(outcome.files), asked.files, printed, at)


def _seed(text: str) -> int:
    seed = int(text)
    if not 0 <= seed < 1 << 32:
        raise ValueError(text)
    return seed


def _is_there(module: Path) -> bool:
    return module.with_suffix(".py").exists() or (module / "__init__.py").exists()


def _queue_path(config: pytest.Config) -> Path:
    return Path(config.getoption("--queue"))


def _probes_folder(loaded: LoadedQueue) -> Path:
    """Return the folder of the checks: probes lie beside them."""
    checks = [check for step in loaded.queue.steps for check in step.checks]
    return (loaded.folder / checks[0]).parent if checks else loaded.folder


def _modules_of(paths: Sequence[str]) -> tuple[str, ...]:
    """Return the names that Python files are imported by."""
    return tuple(
        path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        for path in paths
        if path.endswith(".py")
    )
