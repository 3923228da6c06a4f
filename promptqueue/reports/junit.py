"""A report as JUnit XML, which every CI reads: a test case per gate and per requirement."""

from __future__ import annotations

from xml.etree import ElementTree as Tree  # only written here; nothing foreign is parsed

from promptqueue.verify.report import Report, Requirement
from promptqueue.words import printable


def report_junit(report: Report) -> str:
    """Return the XML; the classes are `gates` and the steps of the queue."""
    suites = Tree.Element("testsuites")
    suite = Tree.SubElement(suites, "testsuite", name=f"promptqueue {report.queue}")
    properties = Tree.SubElement(suite, "properties")
    told = report.isolation.told() if report.isolation else "nothing was run"
    for name, value in {"isolation": told, "challenge_seed": str(report.seed)}.items():
        Tree.SubElement(properties, "property", name=name, value=printable(value))
    for gate, state in report.gates.items():
        case = Tree.SubElement(suite, "testcase", classname="gates", name=gate)
        found = [f for f in report.findings if f.gate == gate and f.severity == "error"]
        if state == "failed":
            lines = [": ".join(filter(None, (each.at, each.message))) for each in found]
            _failure(case, "; ".join(lines) or "failed")
        elif state != "passed":
            Tree.SubElement(case, "skipped", message=printable(state))
    for each in report.requirements:
        _requirement(suite, each)
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    for kind, tag in {"failures": "failure", "errors": "error", "skipped": "skipped"}.items():
        suite.set(kind, str(sum(case.find(tag) is not None for case in cases)))
    Tree.indent(suites)
    return Tree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _requirement(suite: Tree.Element, each: Requirement) -> None:
    case = Tree.SubElement(suite, "testcase", classname=each.step, name=each.id)
    text = f"{each.text}: {each.evidence}" + (f"; {each.at}" if each.at else "")
    if each.verdict == "not met":
        _failure(case, text)
    elif each.verdict == "error":
        Tree.SubElement(case, "error", message=printable(text))
    elif each.verdict == "not verified":
        Tree.SubElement(case, "skipped", message=printable(text))


def _failure(case: Tree.Element, text: str) -> None:
    Tree.SubElement(case, "failure", message=printable(text))
