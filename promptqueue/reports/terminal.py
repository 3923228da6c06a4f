"""A report for a reader: what is met, what is not, what was seen, where."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from promptqueue.verify.report import NOT_ASKED, Check, Finding, Report, Requirement

_SIGNS = {"met": "✓", "not met": "✗", "error": "!", "not verified": "?"}
_WARNINGS_SHOWN = 5


def report_lines(
    report: Report, *, details: bool = False, told: Collection[Finding] = ()
) -> Iterator[str]:
    """Yield the lines of a report, findings first, requirements by prompt, totals last.

    Args:
        report: what was found.
        details: also show what pytest said of each check that failed.
        told: findings that the reader has seen already.
    """
    yield f"{report.folder}: {len(report.files)} files of the queue {report.queue}"
    yield report.isolation.told() if report.isolation else "nothing was run"
    yield from _gates(report)
    yield from finding_lines([each for each in report.findings if each not in told])
    steps = dict.fromkeys(each.step for each in report.requirements)
    width = max((len(each.id) for each in report.requirements), default=0)
    causes: dict[tuple[str, str], str] = {}
    for number, step in enumerate(steps, 1):
        own = [e for e in report.requirements if e.step == step and e.evidence != NOT_ASKED]
        if not own:
            continue
        yield f"[{number}/{len(steps)}] {step}"
        yield from (_requirement(each, width, causes) for each in own if each.checks)
        unguarded = [each.id for each in own if not each.checks]
        if unguarded:
            yield f"  ? not verified, no check names them: {', '.join(unguarded)}"
    if report.tampered:
        yield f"warning: the code replaced {', '.join(report.tampered)}"
    if details:
        yield from _details(report.checks)
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
        yield f"  verdict: {each.verdict}"
        for check in report.checks:
            if name in check.requirements:
                yield f"  {check.outcome:7} {check.name} ({check.grade})"
                yield f"          {_with_place(check.evidence or 'nothing noted', check.at)}"
                if check.reached:
                    yield f"          ran {' and '.join(check.reached)}"
                yield from (f"          {line}" for line in check.detail.splitlines())


def finding_lines(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield a line for each error, and for the first few warnings."""
    for each in findings:
        if each.severity == "error":
            yield f"  ✗ {_placed(each)}"
    warnings = [each for each in findings if each.severity == "warning"]
    for each in warnings[:_WARNINGS_SHOWN]:
        yield f"  · {_placed(each)}"
    if len(warnings) > _WARNINGS_SHOWN:
        yield f"  · and {len(warnings) - _WARNINGS_SHOWN} more warnings: --json lists them"


def _gates(report: Report) -> Iterator[str]:
    for gate, state in report.gates.items():
        if state not in ("passed", "failed"):
            yield f"  {gate}: {state}"
    passed = [gate for gate, state in report.gates.items() if state == "passed"]
    failed = [gate for gate, state in report.gates.items() if state == "failed"]
    yield "gates passed: " + (", ".join(passed) or "none")
    if failed:
        yield "gates failed: " + ", ".join(failed)


def _placed(finding: Finding) -> str:
    rule = f" [{finding.rule}]" if finding.rule else ""
    place = f"{finding.at}: " if finding.at else ""
    return f"{place}{finding.message}{rule}"


def _requirement(each: Requirement, width: int, causes: dict[tuple[str, str], str]) -> str:
    """Return a line; a cause that several share is told once, and then by who had it first."""
    grade = f" ({', '.join(each.grades)})" if each.grades else ""
    head = f"  {_SIGNS[each.verdict]} {each.id:{width}}  {each.verdict}{grade}"
    told = _with_place(each.evidence or each.text, each.at)
    first = each.id
    if each.verdict in ("not met", "error") and each.evidence:
        first = causes.setdefault((each.evidence, each.at), each.id)
    return f"{head}: {told}" if first == each.id else f"{head}: for the same reason as {first}"


def _with_place(text: str, at: str) -> str:
    return f"{text}; {at}" if at else text


def _details(checks: Sequence[Check]) -> Iterator[str]:
    for check in checks:
        if check.detail and check.outcome != "passed":
            yield f"---- {check.name}"
            yield from check.detail.splitlines()


def _total(report: Report) -> str:
    counts = [f"{report.count('met')} of {len(report.requirements)} requirements met"]
    for verdict in ("not met", "error", "not verified"):
        if report.count(verdict):
            counts.append(f"{report.count(verdict)} {verdict}")
    colour = "green" if report.green else "red"
    return f"{colour}: {', '.join(counts)} (seed {report.seed})"
