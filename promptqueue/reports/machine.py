"""A report as JSON, with a version of its own; the same bytes for the same code and seed."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from promptqueue.verify.report import Report

SCHEMA = 1
"""Raised when a key changes its meaning or goes away."""


def report_json(report: Report) -> str:
    """Return one JSON document of all that was found."""
    return json.dumps(as_data(report), ensure_ascii=False, indent=2) + "\n"


def as_data(report: Report) -> dict[str, Any]:
    """Return a report as JSON values."""
    data = {"promptqueue_report": SCHEMA, "green": report.green, **asdict(report)}
    if report.isolation is not None:
        data["isolation"]["told"] = report.isolation.told()
    return data
