"""JSON, JUnit and SARIF, read back by parsers that are not ours."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from promptqueue.reports.junit import report_junit
from promptqueue.reports.machine import report_json
from promptqueue.reports.sarif import report_sarif
from promptqueue.verify.report import Finding, Report


def sarif(report: Report, folder: Path = Path("generated/lunar")) -> str:
    return report_sarif(report, folder=folder, queue_file=Path("prompts/lunar.yaml"))


def test_json_has_a_version_the_verdict_and_all_that_was_found(report: Report) -> None:
    data = json.loads(report_json(report))

    assert (data["promptqueue_report"], data["green"], data["seed"]) == (1, False, 7)
    assert [each["verdict"] for each in data["requirements"]] == [
        *("not met", "met", "not verified", "error"),
    ]
    assert data["isolation"]["told"] == "isolation: bwrap (full)"
    assert data["findings"][1]["rule"] == "F821"


def test_junit_has_a_case_for_each_gate_and_requirement(report: Report) -> None:
    suite = ElementTree.fromstring(report_junit(report)).find("testsuite")
    assert suite is not None
    cases = {(c.get("classname"), c.get("name")): [e.tag for e in c] for c in suite}

    assert cases[("preprocessing", "noise")] == ["failure"]
    assert cases[("model", "aspp")] == []
    assert cases[("model", "dropout")] == ["skipped"]
    assert cases[("model", "frozen")] == ["error"]
    assert cases[("gates", "parse")] == ["failure"]
    assert cases[("gates", "import")] == ["skipped"]
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "8", "failures": "3", "errors": "1", "skipped": "2"}


def test_junit_carries_what_foreign_code_printed(report: Report) -> None:
    odd = replace(report, findings=(Finding("parse", "\x00<&\x1b[31m", "a.py", 1),))

    assert "<&" in str(ElementTree.fromstring(report_junit(odd)).findall(".//failure")[0].attrib)


def test_sarif_points_at_the_code_and_at_the_prompt(report: Report) -> None:
    (run,) = json.loads(sarif(report))["runs"]
    by_rule = {result["ruleId"]: result for result in run["results"]}

    place = by_rule["noise"]["locations"][0]["physicalLocation"]
    asked = by_rule["noise"]["relatedLocations"][0]["physicalLocation"]
    assert place == {
        "artifactLocation": {"uri": "generated/lunar/preprocessing.py"},
        "region": {"startLine": 41},
    }
    assert asked["artifactLocation"]["uri"] == "prompts/lunar.yaml"
    assert asked["region"]["startLine"] == 46


@pytest.mark.parametrize(
    ("folder", "name", "uri"),
    [
        ("gen", "a b.py", "gen/a%20b.py"),
        ("c:d", "50%.py", "c%3Ad/50%25.py"),
        ("gen", "é.py", "gen/%C3%A9.py"),
        ("gen", os.fsdecode(b"caf\xe9.py"), "gen/caf%E9.py"),
        ("/tmp/g n", "a.py", "file:///tmp/g%20n/a.py"),
    ],
)
def test_places_of_sarif_are_uris(report: Report, folder: str, name: str, uri: str) -> None:
    """As RFC 3986 has them: no colon in a first segment, and of all that is not ASCII the bytes."""
    odd = replace(report, findings=(Finding("parse", "no", name, 3),))
    (run,) = json.loads(sarif(odd, Path(folder)))["runs"]

    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == uri


def test_json_of_several_reports_is_one_list(report: Report) -> None:
    told = json.loads(report_json(report, replace(report, folder="other")))

    assert [each["folder"] for each in told] == ["generated", "other"]


def test_results_of_sarif_are_the_findings_and_what_is_red(report: Report) -> None:
    (run,) = json.loads(sarif(report))["runs"]

    told = {(result["ruleId"], result["level"]) for result in run["results"]}
    assert told == {
        *(("parse", "error"), ("F821", "error"), ("F401", "warning")),
        *(("noise", "error"), ("frozen", "error")),
    }
    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} == {rule for rule, _ in told}
