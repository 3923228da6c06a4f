"""The gates that only read: do the files parse, define what they should, leave nothing out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from promptqueue.queue.model import Output, Queue
from promptqueue.verify.lint import missing_symbols, parse_problem, top_level_definitions
from promptqueue.verify.placeholders import line_count, placeholders
from promptqueue.verify.report import Finding, Gate
from promptqueue.verify.ruff import ruff_findings
from promptqueue.verify.signatures import signature_problems
from promptqueue.verify.snapshot import Snapshot

_UNDEFINED = re.compile(r"Undefined name `(\w+)`")
_LINE = re.compile(r"line (\d+): ")


def outputs_of(queue: Queue, last: str | None = None) -> Mapping[str, Output]:
    """Return the declared files; where several steps declare one, the last one's word holds.

    Args:
        queue: what declares them.
        last: the step that it has come to; what later ones declare is left out.
    """
    number = next((n for n, step in enumerate(queue.steps, 1) if step.id == last), None)
    return {output.path: output for step in queue.steps[:number] for output in step.outputs}


def static_findings(
    snapshot: Snapshot, outputs: Mapping[str, Output], folder: Path, shrunk: Mapping[str, int]
) -> Iterator[tuple[Gate, list[Finding]]]:
    """Yield each gate with what it found, cheap to dear; files that do not parse stop only theirs.

    Args:
        snapshot: the files.
        outputs: what the queue declares of each.
        folder: where the snapshot was written.
        shrunk: lines that the version before had, of each file that lost most of them.
    """
    yield "files", list(snapshot.findings)
    broken = [*_unparsable(snapshot.texts)]
    yield "parse", broken
    sound = {
        path: text
        for path, text in snapshot.texts.items()
        if path not in {finding.path for finding in broken}
    }
    yield "outputs", [*_undefined(sound, outputs)]
    yield "placeholders", [*_left_out(sound), *_lost(sound, shrunk)]
    known = {finding.path for finding in broken}
    found = [each for each in ruff_findings(folder) if each.path not in known]
    yield "ruff", [*_with_owners(found, sound)]


def _with_owners(findings: Sequence[Finding], texts: Mapping[str, str]) -> Iterator[Finding]:
    """Say of names that nothing defines which other file does; each file is read once for it."""
    owners: dict[str, str] | None = None
    for finding in findings:
        name = _UNDEFINED.fullmatch(finding.message)
        if name is not None and owners is None:
            owners = {each: path for path in texts for each in top_level_definitions(texts[path])}
        owner = (owners or {}).get(name[1], "") if name is not None else ""
        words = f"{finding.message}, which {owner} defines"
        yield replace(finding, message=words) if owner not in ("", finding.path) else finding


def _unparsable(texts: Mapping[str, str]) -> Iterator[Finding]:
    for path, text in texts.items():
        problem = parse_problem(path, text)
        if problem is not None:
            match = _LINE.match(problem)
            words = f"does not parse: {problem[match.end() :] if match else problem}"
            yield Finding("parse", words, path, int(match[1]) if match else 0)


def _undefined(texts: Mapping[str, str], outputs: Mapping[str, Output]) -> Iterator[Finding]:
    for path, text in texts.items():
        symbols: Sequence[str] = outputs[path].symbols if path in outputs else ()
        for name in missing_symbols(text, symbols):
            yield Finding("outputs", f"defines no {name}, although the queue declares it", path)
        for line, words in signature_problems(text, symbols) if symbols else ():
            yield Finding("outputs", words, path, line)


def _lost(texts: Mapping[str, str], shrunk: Mapping[str, int]) -> Iterator[Finding]:
    for path in sorted(texts.keys() & shrunk.keys()):
        words = f"has {line_count(texts[path])} lines where the version before had {shrunk[path]}"
        yield Finding("placeholders", f"{words}: is all of it there?", path, severity="warning")


def _left_out(texts: Mapping[str, str]) -> Iterator[Finding]:
    for path, text in texts.items():
        for each in placeholders(text):
            words = f"a comment stands where code should be: {each.text}"
            yield Finding("placeholders", words, path, each.line)
