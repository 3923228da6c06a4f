"""What a reader sees of a verdict."""

from __future__ import annotations

from dataclasses import replace

from promptqueue.reports.terminal import explain_lines, report_lines
from promptqueue.verify.report import NOT_ASKED, Finding, Report


def test_the_first_useful_fact_stands_on_the_requirements_line(report: Report) -> None:
    line = next(line for line in report_lines(report) if "noise" in line)

    assert " ".join(line.split()) == (
        "✗ noise not met (outcome): sigma 0.048 measured, 0.01 asked; preprocessing.py:41"
    )


def test_a_cause_that_requirements_share_is_told_once(report: Report) -> None:
    broken = tuple(
        replace(each, verdict="not met", evidence="NameError: np", at="model.py:7")
        for each in report.requirements
    )
    lines = [line.split(": ", 1) for line in report_lines(replace(report, requirements=broken))]
    told = {line[0].split()[1]: line[1] for line in lines if "not met" in line[0]}

    assert told["noise"] == "NameError: np; model.py:7"
    assert told["aspp"] == told["frozen"] == "for the same reason as noise"


def test_requirements_are_grouped_by_prompt(report: Report) -> None:
    lines = [*report_lines(report)]

    assert lines.index("[1/2] preprocessing") < lines.index("[2/2] model")
    assert [line.split()[1] for line in lines[lines.index("[2/2] model") + 1 :]][:2] == [
        *("aspp", "frozen"),
    ]


def test_requirements_without_a_check_share_a_line(report: Report) -> None:
    assert "  ? not verified, no check names them: dropout" in [*report_lines(report)]


def test_what_was_not_asked_for_is_not_shown(report: Report) -> None:
    left_out = tuple(
        each if each.id == "noise" else replace(each, verdict="not verified", evidence=NOT_ASKED)
        for each in report.requirements
    )
    lines = [*report_lines(replace(report, requirements=left_out))]

    assert [line for line in lines if line.startswith("[")] == ["[1/2] preprocessing"]
    assert not any("aspp" in line for line in lines)


def test_findings_name_file_line_and_rule_errors_first(report: Report) -> None:
    lines = [line.strip() for line in report_lines(report)]

    assert "✗ broken.py:3: does not parse: invalid syntax" in lines
    assert "✗ model.py:7: Undefined name `np` [F821]" in lines
    assert "· model.py:1: `os` imported but unused [F401]" in lines


def test_what_was_told_already_is_not_told_again(report: Report) -> None:
    lines = [line.strip() for line in report_lines(report, told=report.findings[:2])]

    assert "✗ broken.py:3: does not parse: invalid syntax" not in lines
    assert "· model.py:1: `os` imported but unused [F401]" in lines


def test_many_warnings_are_counted_not_listed(report: Report) -> None:
    many = tuple(Finding("ruff", "odd", "a.py", n, "B1", "warning") for n in range(1, 10))
    lines = [line.strip() for line in report_lines(replace(report, findings=many))]

    assert [line for line in lines if line.startswith("· ")][-1] == (
        "· and 4 more warnings: --json lists them"
    )


def test_the_last_line_counts_the_verdicts_and_names_the_seed(report: Report) -> None:
    assert [*report_lines(report)][-1] == (
        "red: 1 of 4 requirements met, 1 not met, 1 error, 1 not verified (seed 7)"
    )


def test_isolation_and_replaced_functions_are_always_told(report: Report) -> None:
    lines = [*report_lines(report)]

    assert "isolation: bwrap (full)" in lines
    assert "warning: the code replaced torch.allclose" in lines


def test_pytests_own_words_come_only_when_asked_for(report: Report) -> None:
    assert "assert 0.048 == 0.01" not in [*report_lines(report)]
    assert "assert 0.048 == 0.01" in [*report_lines(report, details=True)]


def test_explain_tells_sentence_place_checks_and_what_they_saw(report: Report) -> None:
    told = "\n".join(explain_lines(report, "noise"))

    for part in ("sigma 0.01", "lunar.yaml:46", "not met", "test_noise.py::test_sigma", "0.048"):
        assert part in told
    assert "aspp" not in told
