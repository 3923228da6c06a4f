"""What a reader sees of a verdict."""

from __future__ import annotations

from dataclasses import replace

from promptqueue.reports.terminal import explain_lines, report_lines
from promptqueue.verify.report import NOT_ASKED, Finding, Report


def test_the_first_useful_fact_stands_on_the_requirements_line(report: Report) -> None:
    line = next(line for line in report_lines(report) if "noise" in line)

    assert " ".join(line.split()) == (
        "✗ noise not met: sigma 0.048 measured, 0.01 asked; preprocessing.py:41"
    )


def test_a_cause_that_requirements_share_is_told_once(report: Report) -> None:
    broken = tuple(
        replace(each, verdict="not met", evidence="NameError: np", at="model.py:7")
        for each in report.requirements
    )
    lines = [*report_lines(replace(report, requirements=broken))]
    rows = [line.split(": ", 1) for line in lines]
    told = {row[0].split()[1]: row[1] for row in rows if "not met" in row[0]}

    assert told["noise"] == "NameError: np; model.py:7"
    assert told["aspp"] == told["frozen"] == "for the reason of noise"
    assert "  3 requirements (noise, aspp, frozen): NameError: np; model.py:7" in lines


def test_requirements_are_grouped_by_prompt(report: Report) -> None:
    lines = [*report_lines(report)]

    assert lines.index("[1/2] preprocessing") < lines.index("[2/2] model")
    assert [line.split()[1] for line in lines[lines.index("[2/2] model") + 1 :]][:2] == [
        *("aspp", "frozen"),
    ]


def test_requirements_without_a_check_share_a_line(report: Report) -> None:
    assert "  ? not verified, no check names it: dropout" in [*report_lines(report)]


def test_why_nothing_is_verified_is_said(report: Report) -> None:
    unrun = [
        replace(each, checks=(), verdict="not verified", evidence="the contract was not run")
        for each in report.requirements
    ]
    lines = [*report_lines(replace(report, requirements=tuple(unrun)))]

    assert "  ? not verified, the contract was not run: aspp, dropout, frozen" in lines
    assert "  verdict: not verified, the contract was not run" in [
        *explain_lines(replace(report, requirements=tuple(unrun)), "noise")
    ]


def test_a_queue_that_asks_for_nothing_has_nothing_to_meet(report: Report) -> None:
    *_, total = report_lines(replace(report, requirements=()))

    assert total == "red: there is no requirement to meet (seed 7)"


def test_what_was_not_asked_for_is_not_shown(report: Report) -> None:
    left_out = tuple(
        each if each.id == "noise" else replace(each, verdict="not verified", evidence=NOT_ASKED)
        for each in report.requirements
    )
    lines = [*report_lines(replace(report, requirements=left_out))]

    assert [line for line in lines if line.startswith("[")] == ["[1/2] preprocessing"]
    assert not any("aspp" in line for line in lines)


def test_a_part_that_is_met_is_neither_green_nor_red(report: Report) -> None:
    part = tuple(
        replace(each, verdict="met")
        if each.id == "noise"
        else replace(each, verdict="not verified", evidence=NOT_ASKED)
        for each in report.requirements
    )
    found = replace(report, requirements=part, gates={"parse": "passed"}, findings=(), in_part=True)

    assert [*report_lines(found)][-1] == (
        "nothing red, judged in part: 1 of 1 requirements met (seed 7)"
    )


def test_findings_name_gate_file_line_and_rule(report: Report) -> None:
    lines = [line.strip() for line in report_lines(report)]

    assert "✗ parse: broken.py:3: does not parse: invalid syntax" in lines
    assert "✗ ruff: model.py:7: Undefined name `np` [F821]" in lines


def test_the_same_finding_on_several_lines_is_one(report: Report) -> None:
    again = replace(report.findings[1], line=9)
    lines = [*report_lines(replace(report, findings=(*report.findings, again)))]

    assert "  ✗ ruff: model.py:7, 9: Undefined name `np` [F821]" in lines


def test_what_was_told_already_is_not_told_again(report: Report) -> None:
    lines = [line.strip() for line in report_lines(report, told=report.findings[:1])]

    assert not any("broken.py" in line for line in lines)
    assert "✗ ruff: model.py:7: Undefined name `np` [F821]" in lines


def test_warnings_are_counted_and_shown_when_asked_for(report: Report) -> None:
    many = tuple(Finding("ruff", "odd", "a.py", n, "B1", "warning") for n in range(1, 10))
    found = replace(report, findings=many)

    assert "  · ruff: 9 warnings, shown by --details" in [*report_lines(found)]
    assert "  · ruff: a.py:1, 2, 3, 4, 5, 6, 7, 8, 9: odd [B1]" in [
        *report_lines(found, details=True)
    ]


def test_no_answer_is_told_apart_from_a_wrong_one(report: Report) -> None:
    silent = tuple(replace(each, unanswered=True) for each in report.requirements[:1])
    lines = [*report_lines(replace(report, requirements=silent))]

    assert any("noise  not met: no answer: sigma" in line for line in lines)


def test_a_shared_cause_is_told_once_and_first_to_mend(report: Report) -> None:
    silent = replace(
        report.requirements[0], unanswered=True, evidence="no usable answer: killed", at=""
    )
    both = (silent, replace(silent, id="blur"))
    lines = [*report_lines(replace(report, requirements=both))]

    assert "  ✗ noise  not met: no answer: killed" in lines
    assert "  ✗ blur   not met: no answer: for the reason of noise" in lines
    assert lines[-1].startswith(
        "red: 0 of 2 requirements met, 2 not met, 2 of these without an answer"
    )


def test_grades_are_explained_where_they_are_shown(report: Report) -> None:
    told = "in brackets, how it is known (static, by reading the code); the others by trying"

    assert told in [*report_lines(report)]
    silent = tuple(replace(each, unanswered=True) for each in report.requirements)
    assert not any("static" in line for line in report_lines(replace(report, requirements=silent)))
    plain = tuple(replace(each, grades=("outcome",)) for each in report.requirements)
    assert not any(
        "in brackets" in line for line in report_lines(replace(report, requirements=plain))
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
