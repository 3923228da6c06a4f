"""A report as SARIF 2.1.0: findings at the lines of the code, requirements at the prompt's line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from promptqueue import __version__
from promptqueue.verify.report import Finding, Report, Requirement

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_RED = ("not met", "error")


def report_sarif(report: Report, *, folder: Path, queue_file: Path) -> str:
    """Return one SARIF log with one run.

    Args:
        report: the verdict.
        folder: where the code lies, from the root of the sources on, or absolute.
        queue_file: where the queue lies, likewise.
    """
    red = [each for each in report.requirements if each.verdict in _RED]
    results = [_of_finding(each, folder) for each in report.findings]
    results += [_of_requirement(each, report, folder, queue_file) for each in red]
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


def _of_finding(finding: Finding, folder: Path) -> dict[str, Any]:
    rule = finding.rule or finding.gate
    path = folder / finding.path if finding.path else None
    return _result(rule, finding.severity, finding.message, path, finding.line)


def _of_requirement(
    each: Requirement, report: Report, folder: Path, queue_file: Path
) -> dict[str, Any]:
    path, _, line = each.at.partition(":")
    name = path or next(iter(report.files), "")
    known = folder / name if name else queue_file
    result = _result(each.id, "error", f"{each.text}: {each.evidence}", known, _number(line))
    asked = _number(each.place.rpartition(":")[2])
    result["relatedLocations"] = [_location(queue_file, asked, "asked for here")]
    return result


def _result(rule: str, level: str, message: str, path: Path | None, line: int) -> dict[str, Any]:
    found = {"ruleId": rule, "level": level, "message": {"text": message}}
    return found | ({"locations": [_location(path, line)]} if path else {})


def _location(path: Path, line: int, message: str = "") -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": _uri(path)}}
    if line:
        place["region"] = {"startLine": line}
    return {"physicalLocation": place} | ({"message": {"text": message}} if message else {})


def _uri(path: Path) -> str:
    """Return a URI reference of RFC 3986, whatever bytes the name has."""
    return path.as_uri() if path.is_absolute() else quote(os.fsencode(path))


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0
