"""A report as SARIF 2.1.0: findings at the lines of the code, requirements at the prompt's line."""

from __future__ import annotations

import json
from typing import Any

from promptqueue import __version__
from promptqueue.verify.report import Finding, Report, Requirement

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_RED = ("not met", "error")


def report_sarif(report: Report) -> str:
    """Return one SARIF log with one run."""
    red = [each for each in report.requirements if each.verdict in _RED]
    results = [*map(_of_finding, report.findings), *(_of_requirement(e, report) for e in red)]
    rules = dict.fromkeys(result["ruleId"] for result in results)
    driver = {
        "name": "promptqueue",
        "version": __version__,
        "rules": [{"id": rule} for rule in rules],
    }
    log = {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }
    return json.dumps(log, ensure_ascii=False, indent=2) + "\n"


def _of_finding(finding: Finding) -> dict[str, Any]:
    rule = finding.rule or finding.gate
    return _result(rule, finding.severity, finding.message, finding.path, finding.line)


def _of_requirement(each: Requirement, report: Report) -> dict[str, Any]:
    path, _, line = each.at.partition(":")
    queue, _, place = each.place.rpartition(":")
    known = path or next(iter(report.files), queue)
    result = _result(each.id, "error", f"{each.text}: {each.evidence}", known, _number(line))
    result["relatedLocations"] = [_location(queue, _number(place), "asked for here")]
    return result


def _result(rule: str, level: str, message: str, path: str, line: int) -> dict[str, Any]:
    found = {"ruleId": rule, "level": level, "message": {"text": message}}
    return found | ({"locations": [_location(path, line)]} if path else {})


def _location(path: str, line: int, message: str = "") -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": path}}
    if line:
        place["region"] = {"startLine": line}
    return {"physicalLocation": place} | ({"message": {"text": message}} if message else {})


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0
