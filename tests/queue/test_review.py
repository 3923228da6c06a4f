"""Files, steps and checks that a queue names exist, and every requirement has a check."""

from __future__ import annotations

import pytest

from .conftest import TWO_STEPS, replaced

TEMPLATE = replaced("task: Write b.", "template: t.j2")
FOLDER = "paths start at the folder of the queue file"


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("reference: ../gone", f"12:12: the folder '../gone' does not exist; {FOLDER}"),
        ("reference: " + "x" * 5000, f"12:12: the folder '{'x' * 60}'... does not exist; {FOLDER}"),
        ("reference: q.yaml", f"12:12: the folder 'q.yaml' does not exist; {FOLDER}"),
        ("role: gone.j2", f"12:7: the template 'gone.j2' does not exist; {FOLDER}"),
        ("    checks: [gone.py]", "12:14: the check 'gone.py' is no readable file; paths start"),
        ("    checks: [folder]", "12:14: the check 'folder' is no readable file; paths start"),
        ("    checks: [latin.py]", "12:14: the check 'latin.py' is no readable file; paths start"),
        (
            "    checks: [bad.py]",
            "12:14: the check 'bad.py' is not valid Python: '(' was never closed in line 2",
        ),
        (
            "    checks: [deep.py]",
            "12:14: the check 'deep.py' is not valid Python: nested too deeply",
        ),
        (
            "role: You are helpful.",
            "12:7: this is a text, not the name of a file; write `role: {text: ...}`",
        ),
        (
            "role: |\n" + "  You are helpful.\n" * 50,
            "12:7: this is a text, not the name of a file; write `role: {text: ...}`",
        ),
        ("role: " + "x" * 5000, f"12:7: the template '{'x' * 60}'... does not exist"),
        ("role: folder", f"12:7: the template 'folder' does not exist; {FOLDER}"),
        ("role: latin.py", "12:7: the template 'latin.py' is not UTF-8 text; save it as UTF-8"),
        ("role: ''", f"12:7: the template '' does not exist; {FOLDER}"),
        ("role: ../up.j2", "12:7: the template '../up.j2' leads out of the folder of the queue"),
        ("role: /etc/hostname", "12:7: the template '/etc/hostname' leads out of the folder"),
        ("role: folder/../../up.j2", "12:7: the template 'folder/../../up.j2' leads out of"),
    ],
    ids=lambda value: value[:40].strip() if value[0] not in "12" else "",
)
def test_what_is_named_must_be_there(refuse, added: str, message: str):
    files = {
        "folder/x": "",
        "latin.py": b"# \xe9\n",
        "bad.py": "x = 1\nprint(\n",
        "deep.py": "-" * 100_000 + "1",
        "../up.j2": "secret",
    }

    assert refuse(TWO_STEPS + added + "\n", files).startswith(f"q.yaml:{message}")


def test_a_missing_template_of_a_step(refuse):
    assert refuse(TEMPLATE) == (
        f"q.yaml:9:15: the template 't.j2' does not exist; {FOLDER}\n"
        "        template: t.j2\n"
        "                  ^\n"
        "1 problem in q.yaml"
    )


@pytest.mark.parametrize(
    ("of_a", "of_b", "message"),
    [
        ("all", "[{step: aa}]", "13:22: no step 'aa'; did you mean 'a'?"),
        ("all", "[{step: zzz}]", "13:22: no step 'zzz'; there is 'a', 'b'"),
        (
            "all",
            "[{step: a}, {step: b}]",
            "13:33: a cycle: step 'b' takes its context from itself; name an earlier step",
        ),
        (
            "[{step: b}]",
            "[{step: a}]",
            "8:22: a cycle: a → b → a; take context from earlier steps only",
        ),
        ("[{step: b}]", "all", "8:22: a cycle: a → b → a; take context from earlier steps only"),
        ("[{step: b}]", "last", "8:22: a cycle: a → b → a; take context from earlier steps only"),
        (
            "[{step: b}]",
            "none",
            "8:22: step 'b' comes later than 'a'; move it up, or name an earlier step",
        ),
    ],
    ids=["typo", "unknown", "itself", "each other", "through all", "through last", "later"],
)
def test_context_comes_from_earlier_steps(refuse, of_a: str, of_b: str, message: str):
    queue = replaced("  - id: b", f"    context: {of_a}\n  - id: b") + f"    context: {of_b}\n"

    text = refuse(queue)

    assert text.startswith(f"q.yaml:{message}\n")
    assert text.endswith("\n1 problem in q.yaml")


@pytest.mark.parametrize(
    ("default", "cycle"), [("none", False), ("all", True)], ids=["default none", "default all"]
)
def test_a_cycle_is_named_only_where_there_is_one(refuse, default: str, cycle: bool):
    queue = replaced("  - id: b", "    context: [{step: b}]\n  - id: b")

    assert ("a cycle" in refuse(queue + f"defaults: {{context: {default}}}\n")) is cycle


MARKED = """\
import pytest

@pytest.mark.requirement("x")
def test_x():
    r'''a'''

class TestMore:
    @pytest.mark.requirement("y", grade="static")
    @pytest.mark.parametrize("n", [1])
    def test_y(self, n):
        pattern = '\\d'
"""


@pytest.mark.parametrize(
    ("requirements", "checks", "unguarded"),
    [
        pytest.param("{x: why}", {"c.py": MARKED}, None, id="guarded"),
        pytest.param("{x: why, y: why}", {"c.py": MARKED}, None, id="in a class"),
        pytest.param("{x: why, z: why}", {"c.py": MARKED}, "z", id="one is not"),
        pytest.param("{x: why, z: why}", {"c.py": "def test_x(): ..."}, "x, z", id="no mark"),
        pytest.param("{x: why}", {}, "x", id="no check"),
        pytest.param(
            "{x: why, z: why}",
            {"c.py": MARKED, "d.py": "import pytest\npytestmark = pytest.mark.requirement('z')\n"},
            None,
            id="two files",
        ),
        pytest.param("{x: why}", {"c.py": "# requirement('x')\n"}, "x", id="a comment is no mark"),
        pytest.param("{x: why}", {"c.py": "pytest.mark.skip('x')\n"}, "x", id="another mark"),
        pytest.param("{x: why}", {"c.py": "requirement('y')\n"}, "x", id="another requirement"),
        pytest.param("{}", {"c.py": ""}, None, id="nothing required"),
    ],
)
def test_a_requirement_that_no_check_names_is_a_warning(load, requirements, checks, unguarded):
    queue = f"{TWO_STEPS}    requirements: {requirements}\n    checks: [{', '.join(checks)}]\n"

    warnings = [str(warning) for warning in load(queue, checks).warnings]

    assert warnings == (
        [
            f"q.yaml:12:5: warning: no check names {unguarded}: a report will say 'not verified'; "
            f"mark a test with @pytest.mark.requirement({unguarded[0]!r})\n"
            f"        requirements: {requirements}\n"
            "        ^"
        ]
        if unguarded
        else []
    )


@pytest.mark.parametrize("checked", [True, False], ids=["judged", "never judged"])
def test_a_requirement_of_two_steps_is_a_warning_where_the_first_is_judged(load, checked: bool):
    added = "    requirements: {x: why}\n    checks: [c.py]\n"
    first = added if checked else "    requirements: {x: why}\n\n"
    queue = replaced("  - id: b", first + "  - id: b") + added
    message = (
        "q.yaml:14:20: warning: step 'a' has the requirement 'x', too, and is judged by all its "
        "tests before this step has brought its files; take another id, or keep it where"
    )

    warnings = [str(warning) for warning in load(queue, {"c.py": MARKED}).warnings]

    assert any(warning.startswith(message) for warning in warnings) is checked
    assert len(warnings) == 1  # that no check of the first step names it, where it has none


def test_checks_are_read_and_never_run(load, tmp_path):
    check = f"open({str(tmp_path / 'ran')!r}, 'w')\n"

    load(TWO_STEPS + "    checks: [c.py]\n", {"c.py": check})

    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("added", "column"),
    [("    refine: {samples: 3}", 23), ("defaults: {refine: {samples: 3}}", 30)],
    ids=["of a step", "of all"],
)
def test_samples_above_one_are_a_warning(load, added: str, column: int):
    (warning,) = load(TWO_STEPS + added + "\n").warnings

    assert str(warning) == (
        f"q.yaml:12:{column}: warning: samples above 1 has no effect without `checks`: nothing "
        f"judges which one is best\n    {added}\n    {' ' * (column - 1)}^"
    )


def test_samples_of_a_step_with_checks_are_no_warning(load):
    step = "    checks: [c.py]\n    refine: {samples: 3}\n"
    assert load(TWO_STEPS + step, {"c.py": ""}).warnings == ()


def test_one_sample_is_no_warning(load):
    assert load(TWO_STEPS + "    refine: {samples: 1}\n").warnings == ()


def test_a_link_leads_no_template_out_of_the_folder(refuse, tmp_path):
    (tmp_path.parent / "secret.j2").write_text("the key")
    (tmp_path / "role.j2").symlink_to(tmp_path.parent / "secret.j2")
    (tmp_path / "t.j2").write_text("{% include 'role.j2' %}")

    assert "'role.j2' leads out of the folder" in refuse(TWO_STEPS + "role: role.j2\n")
    assert refuse(TEMPLATE).startswith("t.j2:1:1: the template 'role.j2' does not exist;")


def test_a_mark_of_the_byte_order_is_no_text(load):
    loaded = load(TEMPLATE, {"t.j2": b"\xef\xbb\xbfWrite b."})
    assert loaded.sources["t.j2"] == "Write b."


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("manifest.json", "'manifest.json' is the file in which promptqueue notes what it wrote"),
        ("b.py/c.py", "'b.py' is the folder of another output, too"),
    ],
)
def test_an_output_that_stands_in_the_way(refuse, path: str, message: str):
    assert message in refuse(replaced("path: a.py", f"path: {path}"))


@pytest.mark.parametrize("value", ["!!bool maybe", '!!int ""', '!!float ""'])
def test_a_tag_that_does_not_fit_its_value(refuse, value: str):
    text = refuse(replaced("name: q", f"name: {value}"))

    assert "is not a valid" in text
    assert text.endswith("\n1 problem in q.yaml")


@pytest.mark.parametrize("extra", ["{min_p: .nan}", "{min_p: [.inf]}"])
def test_a_parameter_that_cannot_be_sent(refuse, extra: str):
    text = refuse(TWO_STEPS + f"defaults: {{params: {{extra: {extra}}}}}\n")
    assert "cannot be sent as JSON" in text
