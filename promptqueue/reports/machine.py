"""A report as JSON, with a version of its own; the same bytes for the same code and seed."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from promptqueue.verify.report import Report

SCHEMA = 1
"""Raised when a key changes its meaning or goes away."""


def report_json(*reports: Report) -> str:
    """Return one JSON document of all that was found: an object, or a list of several."""
    told = [as_data(report) for report in reports]
    document = told[0] if len(told) == 1 else told
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def as_data(report: Report) -> dict[str, Any]:
    """Return a report as JSON values."""
    data = {"promptqueue_report": SCHEMA, "green": report.green, **asdict(report)}
    if report.isolation is not None:
        data["isolation"]["told"] = report.isolation.told()
    return data
