"""The contract of report.py: the program's own file, read outside."""

import json

import pytest


@pytest.mark.requirement("report", grade="outcome")
def test_the_report_holds_mean_and_median(pipeline, reference, numbers, evidence):
    assert not pipeline.failure, pipeline.failure
    assert "report.json" in pipeline.files, "report.json was not written"
    try:
        found = json.loads(pipeline.files["report.json"])
    except ValueError:
        found = "no JSON"
    stats = reference("stats")
    expected = {"mean": stats.mean(numbers), "median": stats.median(numbers)}
    evidence(f"{found} in report.json, {expected} expected")
    assert isinstance(found, dict)
    assert found == pytest.approx(expected, rel=1e-9)
