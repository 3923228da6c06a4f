"""Judges the files of a step as soon as they are there, by the contract of the pack."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from promptqueue.errors import IsolationError
from promptqueue.extras import install_command
from promptqueue.queue.inputs import Value
from promptqueue.queue.load import LoadedQueue
from promptqueue.queue.model import Queue, Step
from promptqueue.run.pool import PLACES, POOL
from promptqueue.run.verdict import Fault, Judgement, grouped

if TYPE_CHECKING:
    from promptqueue.verify.report import Finding, Gate, Report, Requirement

_NEEDED = ("pytest", "ruff", "safetensors", "numpy")
_SUFFIXES = (".py", ".json", ".csv", ".txt", ".toml")
"""Of the files of a contract: beside the checks, and of the reference."""


class Judge(Protocol):
    """Whatever says which requirements a step's files meet."""

    @property
    def contract(self) -> str:
        """Return the digest of what it judges by: another one's verdicts do not hold."""
        ...

    def judge(self, step: Step, texts: Mapping[str, str]) -> Judgement:
        """Return the verdict on these files, path to text.

        Raises:
            IsolationError, UsageError, StorageError: see `promptqueue.verify.gates.verify`.
        """
        ...

    def close(self) -> None:
        """End what it keeps running between verdicts."""
        ...


def requirements_of(queue: Queue, step: Step) -> tuple[str, ...]:
    """Return the ids that a step is judged by: its own, and those of the files that it rewrites."""
    if not step.checks:
        return ()
    paths = {*step.paths()}
    number = [each.id for each in queue.steps].index(step.id)
    touched = [each for each in queue.steps[: number + 1] if paths & {*each.paths()}]
    return tuple(name for each in touched for name in each.requirements)


def key_of(queue: Queue, step: Step, texts: Mapping[str, str], inputs: Mapping[str, Value]) -> str:
    """Return what a verdict is kept under: the same files, asked for the same things."""
    digests = {path: hashlib.sha256(text.encode()).hexdigest() for path, text in texts.items()}
    told = [step.id, requirements_of(queue, step), sorted(digests.items()), sorted(inputs.items())]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def why_not(loaded: LoadedQueue) -> str:
    """Return what is missing here to judge what a queue brings, with the way out, or nothing."""
    if not any(requirements_of(loaded.queue, step) for step in loaded.queue.steps):
        return "it names no checks (prompts/PACKS.md tells how to write some)"
    gone = [check for step in loaded.queue.steps for check in step.checks
            if not (loaded.folder / check).is_file()]  # fmt: skip
    if gone:
        return f"{gone[0]} is not there"
    if absent := _not_installed(loaded.queue.verify.preload):
        return absent
    from promptqueue.verify.sandbox import open_sandbox

    try:
        open_sandbox()
    except IsolationError as error:
        return str(error)
    return ""


def _not_installed(preload: Iterable[str]) -> str:
    """Return which of our packages, and of those that a queue preloads, are not installed here."""
    tops = dict.fromkeys(name.partition(".")[0] for name in preload)
    ours, others = (
        ", ".join(name for name in names if find_spec(name) is None) for names in (_NEEDED, tops)
    )
    told = (
        f"{ours} missing: {install_command('verify')}" if ours else "",
        f"its checks need {others}, not installed here" if others else "",
    )
    return "; ".join(filter(None, told))


@dataclass(slots=True)
class ContractJudge:
    """Judges by the checks of the pack, in the sandbox; close it when there is no more to judge."""

    loaded: LoadedQueue
    inputs: Mapping[str, Value]
    contract: str
    _joined: bool = False
    _cold: bool = field(default=sys.platform != "linux")
    """Start pytest for each verdict: elsewhere, a fork of what has imported much is not safe."""

    def judge(self, step: Step, texts: Mapping[str, str]) -> Judgement:
        """Return the verdict on these files, path to text."""
        from promptqueue.verify.scratch import scratch_folder

        names = requirements_of(self.loaded.queue, step)
        with scratch_folder() as folder:
            for path, text in texts.items():
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, "utf-8", errors="replace")
            with PLACES:
                report = self._verified(folder, names, step.id)
        judged = [each for each in report.requirements if each.id in names]
        checks = [
            check for check in report.checks
            if check.gate == "contract" and check.outcome != "skipped"
        ]  # fmt: skip
        told = [check for check in checks if not check.hidden]
        quiet = [check for check in checks if check.hidden]
        unmet = [each for each in judged if each.verdict != "met"]
        return Judgement(
            met=tuple(each.id for each in judged if each.verdict == "met"),
            unmet=tuple(each.id for each in unmet),
            faults=grouped(
                [
                    *static_faults(_of_step(report.findings, step, unmet)),
                    *(_fault(each) for each in unmet if not each.hidden),
                ]
            ),
            seed=report.seed,
            contract=self.contract,
            hidden=(sum(check.outcome == "passed" for check in quiet), len(quiet)),
            visible=(sum(check.outcome == "passed" for check in told), len(told)),
        )

    def close(self) -> None:
        """Let the pytest end that waits for verdicts, if no other judge needs it."""
        if self._joined:
            self._joined = False
            POOL.leave()

    def _verified(self, folder: Path, names: tuple[str, ...], last: str) -> Report:
        """Judge by a pytest that is warm; where that is gone, by one that is not."""
        from promptqueue.verify.contract import Runner, Selection, run_pytest
        from promptqueue.verify.gates import verify
        from promptqueue.verify.warm import ServerGone

        def verified(runner: Runner) -> Report:
            whole = last == self.loaded.queue.steps[-1].id
            gates: tuple[Gate, ...] = ("contract", "pipeline") if whole else ("contract",)
            selection = Selection(requirements=names, gates=gates)
            return verify(
                self.loaded,
                folder,
                selection=selection,
                inputs=self.inputs,
                last=last,
                runner=runner,
            )

        if not self._cold:
            if not self._joined:
                self._joined = True
                POOL.join()
            try:
                with POOL.lent(self.loaded.queue.verify.preload) as warm:
                    return verified(warm)
            except ServerGone:
                self._cold = True
                self.close()
        return verified(run_pytest)


def _fault(unmet: Requirement) -> Fault:
    asked = () if unmet.unanswered else (unmet.sentence or unmet.text,)
    return Fault((unmet.id,), asked, unmet.evidence, unmet.at)


def _of_step(
    findings: Iterable[Finding], step: Step, unmet: Iterable[Requirement]
) -> Iterator[Finding]:
    """Yield what was found in a step's own files, or when the program ran as a whole.

    Where that keeps a requirement from being met, the requirement tells it.
    """
    told = [each.evidence for each in unmet]
    for each in findings:
        if each.gate != "pipeline":
            if each.path in step.paths():
                yield each
        elif not any(each.message in text for text in told):
            yield each


def static_faults(findings: Iterable[Finding]) -> list[Fault]:
    """Return what a gate found wrong; the same in several lines of a file is one fault.

    An import that was forgotten is one cause, however often its name is used.
    """
    causes: dict[tuple[str, str, str], list[Finding]] = {}
    for each in findings:
        if each.severity == "error":
            causes.setdefault((each.gate, each.message, each.path), []).append(each)
    faults = []
    for (gate, message, _), same in causes.items():
        lines = ", ".join(str(each.line) for each in same)
        several = f" (lines {lines})" if len(same) > 1 else ""
        faults.append(Fault((), (), f"{gate}: {message}{several}", same[0].at))
    return faults


def contract_judge(loaded: LoadedQueue, inputs: Mapping[str, Value]) -> ContractJudge:
    """Return the judge of a queue: by its checks, and by what it says of judging and its end."""
    queue = loaded.queue
    told = (contract_digest(loaded), queue.verify.model_dump_json(), queue.steps[-1].id)
    return ContractJudge(loaded, inputs, hashlib.sha256("\0".join(told).encode()).hexdigest())


def contract_digest(loaded: LoadedQueue) -> str:
    """Return the digest of the checks of a queue, of what lies beside them, and the reference."""
    digest = hashlib.sha256()
    for name, data in _contract_files(loaded):
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()


def _contract_files(loaded: LoadedQueue) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the checks, of what lies beside them, and of the reference."""
    checks = [loaded.folder / check for step in loaded.queue.steps for check in step.checks]
    folders = [check.parent for check in checks]
    if checks and loaded.queue.reference is not None:
        folders.append(loaded.folder / loaded.queue.reference)
    for folder in dict.fromkeys(folders):
        for path in sorted(folder.rglob("*")):
            if path.suffix in _SUFFIXES and path.is_file():
                name = os.path.relpath(path, loaded.folder)
                yield name, path.read_bytes()
