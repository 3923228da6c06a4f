"""verify(): the gates from cheap to dear, and one report of all that they found."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import get_args

from promptqueue.queue.inputs import Value, resolve_inputs
from promptqueue.queue.load import LoadedQueue
from promptqueue.queue.model import Step
from promptqueue.verify.candidate import fresh_seed
from promptqueue.verify.contract import Contract, Runner, Selection, run_contract, run_pytest
from promptqueue.verify.report import (
    GATES,
    NOT_ASKED,
    Check,
    Finding,
    Gate,
    Grade,
    Report,
    Requirement,
    Verdict,
)
from promptqueue.verify.sandbox import Isolation, open_sandbox
from promptqueue.verify.scratch import scratch_folder
from promptqueue.verify.sentences import sentences
from promptqueue.verify.snapshot import Snapshot, take_snapshot
from promptqueue.verify.static import outputs_of, static_findings

_RUN: tuple[Gate, ...] = ("import", "contract", "pipeline")
_TOLD = ("promptqueue-conveyor", "pytest", "ruff", "numpy", "torch", "torchvision")


def verify(
    loaded: LoadedQueue,
    folder: Path,
    *,
    seed: int | None = None,
    isolation: str = "auto",
    selection: Selection | None = None,
    inputs: Mapping[str, Value] | None = None,
    last: str | None = None,
    shrunk: Mapping[str, int] = MappingProxyType({}),
    watch: Callable[[Sequence[Finding]], None] = lambda _: None,
    runner: Runner = run_pytest,
) -> Report:
    """Judge generated code; not a byte of it is trusted, and none of it runs outside a sandbox.

    Args:
        loaded: the pack that the code answers to.
        folder: the generated files.
        seed: of the fresh inputs; drawn after the code was copied if left out.
        isolation: `auto`, or the backend to use.
        selection: which of the checks to run; all if left out.
        inputs: of the queue, where the prompts had others than its defaults.
        last: the step that the queue has come to; the files of later ones are not missed.
        shrunk: lines that the version before had, of each file that lost most of them.
        watch: is told what each of the gates that only read found, long before the code runs.
        runner: of the trusted pytest.

    Raises:
        IsolationError: the code cannot be kept apart well enough here.
        UsageError: the contract cannot be run, or a tool is missing.
        StorageError: the folder cannot be read.
    """
    selection = selection or Selection()
    inputs = resolve_inputs(loaded.queue) if inputs is None else inputs
    outputs = outputs_of(loaded.queue, last)
    snapshot = take_snapshot(folder, [*outputs])
    gates: dict[Gate, str] = {}
    findings: list[Finding] = []
    with scratch_folder() as scratch:
        scratch.chmod(0o755)  # whoever runs the code is another user
        code = snapshot.write_to(scratch / "code").folder
        for gate, found in static_findings(snapshot, outputs, code, shrunk):
            watch(found)
            findings += found
            gates[gate] = "failed" if any(f.severity == "error" for f in found) else "passed"
        kept = _isolation(snapshot, isolation)
        seed = fresh_seed() if seed is None else seed
        contract = Contract()
        if kept is not None:
            contract = run_contract(
                loaded,
                code,
                seed=seed,
                isolation=kept.backend,
                selection=selection,
                inputs=inputs,
                runner=runner,
            )
    _add_run_gates(gates, findings, contract, loaded, snapshot)
    return Report(
        queue=loaded.queue.name,
        queue_file=loaded.path.name,
        queue_digest=loaded.digest,
        folder=folder.name,
        seed=seed,
        files=snapshot.digests,
        gates={gate: gates[gate] for gate in GATES if gate in gates},
        findings=tuple(findings),
        requirements=tuple(_requirements(loaded, contract.checks, inputs, selection)),
        checks=tuple(contract.checks),
        isolation=kept,
        tampered=contract.tampered,
        versions=_versions(),
        in_part=bool(selection.requirements),
        inputs=inputs,
    )


def _isolation(snapshot: Snapshot, requested: str) -> Isolation | None:
    """Return how the code will be kept apart; None where there is none to run."""
    if not any(path.endswith(".py") for path in snapshot.texts):
        return None
    return open_sandbox(requested).isolation  # type: ignore[arg-type]


def _add_run_gates(
    gates: dict[Gate, str],
    findings: list[Finding],
    contract: Contract,
    loaded: LoadedQueue,
    snapshot: Snapshot,
) -> None:
    for gate in _RUN:
        if gate == "pipeline" and loaded.queue.verify.pipeline is None:
            continue
        checks = [check for check in contract.checks if check.gate == gate]
        if not checks:
            gates[gate] = _why_not(gate, loaded, snapshot)
            continue
        bad = [check for check in checks if check.outcome in ("failed", "error")]
        done = [check for check in checks if check.outcome != "skipped"]
        gates[gate] = "failed" if bad else "passed" if done == checks else "left out in part"
        if gate != "contract":
            # a module that fails because of one that it imports says the same of the same line
            known = {replace(each, gate=gate) for each in findings}
            findings += [f for f in dict.fromkeys(_finding(gate, c) for c in bad) if f not in known]


def _why_not(gate: Gate, loaded: LoadedQueue, snapshot: Snapshot) -> str:
    if not snapshot.texts:
        return "not run: no file can be judged"
    if gate == "contract" and not any(step.checks for step in loaded.queue.steps):
        return "not run: the queue names no checks (prompts/PACKS.md tells how to write some)"
    return "not run"


def _finding(gate: Gate, check: Check) -> Finding:
    path, _, line = check.at.partition(":")
    return Finding(gate, check.evidence, path, int(line) if line.isdigit() else 0)


def _requirements(
    loaded: LoadedQueue,
    checks: Sequence[Check],
    inputs: Mapping[str, Value],
    selection: Selection,
) -> Iterable[Requirement]:
    asked = sentences(loaded, inputs)
    unguarded = "no check names it" if checks else "the contract was not run"
    for index, step in enumerate(loaded.queue.steps):
        for name, text in step.requirements.items():
            guards = [check for check in checks if name in check.requirements]
            place = _place(loaded, index, name)
            judged = _judged(name, text, step, place, guards, unguarded)
            sentence = asked.get((step.id, name))
            if sentence is not None:
                judged = replace(judged, sentence=sentence.text, sentence_at=sentence.at)
            if selection.requirements and name not in selection.requirements:
                judged = replace(judged, evidence=NOT_ASKED)
            yield judged


def _judged(
    name: str, text: str, step: Step, place: str, guards: Sequence[Check], unguarded: str
) -> Requirement:
    bad = [check for check in guards if check.outcome != "passed"]
    telling = sorted(
        bad or guards,
        key=lambda check: (check.hidden, check.unanswered, not check.evidence, not check.at),
    )
    first = next(iter(telling), None)
    return Requirement(
        id=name,
        step=step.id,
        text=text,
        place=place,
        verdict=_verdict(guards),
        grades=tuple(sorted({check.grade for check in guards}, key=get_args(Grade).index)),
        checks=tuple(check.name for check in guards),
        evidence=first.evidence if first else unguarded,
        at=first.at if first else "",
        unanswered=bool(bad and first and first.unanswered),
        hidden=bool(bad) and all(check.hidden for check in bad),
    )


def _verdict(guards: Sequence[Check]) -> Verdict:
    outcomes = {check.outcome for check in guards}
    if "failed" in outcomes:
        return "not met"
    if "error" in outcomes:
        return "error"
    return "met" if outcomes == {"passed"} else "not verified"


def _place(loaded: LoadedQueue, index: int, name: str) -> str:
    place = loaded.document.keys.get(("steps", index, "requirements", name))
    return f"{loaded.path.name}:{place.line}" if place else loaded.path.name


def _versions() -> Mapping[str, str]:
    found = {"python": platform.python_version()}
    for name in _TOLD:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
