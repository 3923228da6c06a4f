"""A report for a reader: what is met, what is not, what was seen, where."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from promptqueue.verify.report import Check, Finding, Report, Requirement
from promptqueue.words import counted

_SIGNS = {"met": "✓", "not met": "✗", "error": "!", "not verified": "?"}
_GRADES = {
    "outcome": "by trying it",
    "static": "by reading the code",
    "introspected": "by what the code says of itself",
}
_DETAILED = {"contract": "contract (by prompt below)"}
_UNUSABLE = "no usable answer: "
_SHARED = 2
"""From so many requirements on, a cause is worth a line of its own at the end."""


def heading(folder: Path, queue: str, inputs: Mapping[str, object]) -> str:
    """Return the first line: what is judged, and by what."""
    given = ", ".join(f"{name}={value}" for name, value in inputs.items())
    return f"{folder}: judged by the queue {queue}" + (f", {given}" if given else "")


def report_lines(
    report: Report, *, details: bool = False, told: Collection[Finding] = ()
) -> Iterator[str]:
    """Yield the lines of a report, findings first, requirements by prompt, totals last.

    Args:
        report: what was found.
        details: also show what pytest said of each check that failed.
        told: findings that the reader has seen already.
    """
    yield report.isolation.told() if report.isolation else "nothing was run"
    yield from _gates(report)
    rest = [each for each in report.findings if each not in told]
    yield from finding_lines(rest, warnings=details)
    steps = dict.fromkeys(each.step for each in report.requirements)
    width = max((len(each.id) for each in report.requirements), default=0)
    causes: dict[str, list[str]] = {}
    for number, step in enumerate(steps, 1):
        own = [each for each in report.asked if each.step == step]
        if not own:
            continue
        yield f"[{number}/{len(steps)}] {step}"
        yield from (_requirement(each, width, causes) for each in own if each.checks)
        unguarded: dict[str, list[str]] = {}
        for each in own:
            if not each.checks:
                unguarded.setdefault(each.evidence, []).append(each.id)
        for why, names in unguarded.items():
            yield f"  ? not verified, {why}: {', '.join(names)}"
    if report.tampered:
        yield f"warning: the code replaced {', '.join(report.tampered)}"
    if details:
        yield from _details(report.checks)
    yield from _first_to_mend(causes)
    yield from _legend(report)
    yield _total(report)


def explain_lines(report: Report, name: str) -> Iterator[str]:
    """Yield one requirement's whole story: its sentence, its checks, and what they saw."""
    for each in report.requirements:
        if each.id != name:
            continue
        yield f"{each.id}: {each.text}"
        yield f"  asked for in {each.place}, by the step {each.step}"
        if each.sentence:
            yield f"  the prompt says ({each.sentence_at}): {each.sentence}"
        yield f"  verdict: {each.verdict}" + ("" if each.checks else f", {each.evidence}")
        for check in report.checks:
            if name in check.requirements:
                yield f"  {check.outcome:7} {check.name} ({check.grade})"
                yield f"          {_with_place(check.evidence or 'nothing noted', check.at)}"
                if check.reached:
                    yield f"          ran {' and '.join(check.reached)}"
                yield from (f"          {line}" for line in check.detail.splitlines())


def finding_lines(findings: Sequence[Finding], *, warnings: bool = False) -> Iterator[str]:
    """Yield a line for each error, or for several of one kind in one file; count the warnings.

    Args:
        findings: of any gates.
        warnings: show these, too.
    """
    lines: dict[Finding, list[int]] = {}
    for each in findings:
        if each.severity == "error" or warnings:
            lines.setdefault(replace(each, line=0), []).append(each.line)
    for each, numbers in lines.items():
        sign = "✗" if each.severity == "error" else "·"
        yield f"  {sign} {each.gate}: {_placed(each, numbers)}"
    left = [each.gate for each in findings if each.severity == "warning"]
    if left and not warnings:
        names = ", ".join(dict.fromkeys(left))
        yield f"  · {names}: {counted(len(left), 'warning')}, shown by --details"


def _gates(report: Report) -> Iterator[str]:
    for gate, state in report.gates.items():
        if state not in ("passed", "failed"):
            yield f"  {gate}: {state}"
    passed = [gate for gate, state in report.gates.items() if state == "passed"]
    failed = [gate for gate, state in report.gates.items() if state == "failed"]
    yield "gates passed: " + (", ".join(passed) or "none")
    if failed:
        yield "gates failed: " + ", ".join(_DETAILED.get(gate, gate) for gate in failed)


def _legend(report: Report) -> Iterator[str]:
    """Yield what a reader may want to know of what stands above."""
    shown = {grade for each in report.asked if _is_graded(each) for grade in each.grades}
    told = [f"{grade}, {words}" for grade, words in _GRADES.items() if grade in shown]
    if told:
        yield f"in brackets, how it is known ({'; '.join(told)}); the others by trying"
    if any(each.verdict == "not met" for each in report.asked):
        yield "what one asks for, and all that its checks saw: verify --explain ID"


def _placed(finding: Finding, numbers: Sequence[int]) -> str:
    rule = f" [{finding.rule}]" if finding.rule else ""
    known = ", ".join(str(number) for number in dict.fromkeys(numbers) if number)
    place = f"{finding.path}{':' if known and finding.path else ''}{known}"
    return f"{place + ': ' if place else ''}{finding.message}{rule}"


def _requirement(each: Requirement, width: int, causes: dict[str, list[str]]) -> str:
    """Return a line; a cause that several share is told once, and then by who had it first."""
    worth = f" ({', '.join(each.grades)})" if _is_graded(each) else ""
    head = f"  {_SIGNS[each.verdict]} {each.id:{width}}  {each.verdict}{worth}"
    told = _with_place(each.evidence or each.text, each.at)
    if each.verdict not in ("not met", "error"):
        return f"{head}: {told}"
    sharing = causes.setdefault(told, [])
    sharing.append(each.id)
    why = told.removeprefix(_UNUSABLE) if len(sharing) == 1 else f"for the reason of {sharing[0]}"
    return f"{head}: {'no answer: ' if each.unanswered else ''}{why}"


def _is_graded(each: Requirement) -> bool:
    """Tell whether it is worth saying how it is known: not by trying alone, and known at all."""
    return not (each.unanswered or {*each.grades} <= {"outcome"})


def _first_to_mend(causes: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield what keeps several requirements from being judged, the widest first."""
    shared = [(why, names) for why, names in causes.items() if len(names) >= _SHARED]
    if shared:
        yield "mend first, since it stands in the way of several (more may lie behind it):"
    for why, names in sorted(shared, key=lambda each: -len(each[1])):
        yield f"  {len(names)} requirements ({', '.join(names)}): {why}"


def _with_place(text: str, at: str) -> str:
    return f"{text}; {at}" if at else text


def _details(checks: Sequence[Check]) -> Iterator[str]:
    for check in checks:
        if check.detail and check.outcome != "passed":
            yield f"---- {check.name}"
            yield from check.detail.splitlines()


def _total(report: Report) -> str:
    if not report.requirements:
        return f"{_colour(report)}: there is no requirement to meet (seed {report.seed})"
    counts = [f"{report.count('met')} of {len(report.asked)} requirements met"]
    for verdict in ("not met", "error", "not verified"):
        count = sum(each.verdict == verdict for each in report.asked)
        if count:
            counts.append(f"{count} {verdict}")
    silent = sum(each.unanswered for each in report.asked)
    if silent:
        counts.append(f"{silent} of these without an answer that could be judged")
    return f"{_colour(report)}: {', '.join(counts)} (seed {report.seed})"


def _colour(report: Report) -> str:
    if report.green:
        return "green"
    return "nothing red, judged in part" if report.passed else "red"
