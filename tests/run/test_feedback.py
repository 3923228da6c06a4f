"""What a model is told: each cause once, each function once with its lines marked, no more."""

from __future__ import annotations

from promptqueue.queue.model import Output
from promptqueue.run.feedback import verdict_prompt, warned
from promptqueue.run.judge import static_faults
from promptqueue.run.verdict import Fault, grouped
from promptqueue.verify.report import Finding

TEXT = """import os


def one():
    a = 1
    return a


class Two:
    def three(self):
        return b
"""
PROMPT = """## CONTEXT

```python path=m.py
import json
```

## TASK

Write m.py.

## ANSWER FORMAT

```python path=m.py
import os
from math import pi
<all of it>
```
"""
BULLETS = """## TASK

- x: do x
  1. first
  2. second
- y: do y
"""
OUTPUTS = [Output(path="m.py", symbols=("one",))]


def told(*faults: Fault) -> str:
    return verdict_prompt(faults, {"m.py": TEXT}, OUTPUTS, PROMPT)


def test_the_function_of_several_faults_is_shown_once() -> None:
    said = told(Fault(("x",), ("do x",), "no x", "m.py:5"), Fault((), (), "odd", "m.py:6"))

    assert said.count("def one():\n    a = 1") == 1
    assert "    a = 1  # <-- look here\n    return a  # <-- look here\n" in said
    assert "class Two" not in said
    assert "1. Asked for: x: do x\n   Found: no x (m.py:5)\n2. Found: odd (m.py:6)" in said


def test_only_what_is_concerned_is_asked_for() -> None:
    said = told(Fault(("x",), ("do x",), "no x", "m.py:11"))

    assert "    def three(self):\n        return b  # <-- look here" in said
    assert said.endswith(
        "```python path=m.py\nimport os\nfrom math import pi\n"
        "class Two:\n    <its lines, corrected>\n```\n"
    )


def test_an_error_is_told_with_what_the_prompt_says_of_its_function() -> None:
    prompt = f"{BULLETS}\nClass `Two`:\n1. has three\n\n`one()`, a number:\n1. `a` is 1\n\n{PROMPT}"
    faults = [Fault(("x", "y"), (), f"RuntimeError: {n}", f"m.py:{n}") for n in (5, 6, 11)]

    said = verdict_prompt(faults, {"m.py": TEXT}, OUTPUTS, prompt)

    assert said.partition("\n\n")[2].startswith(
        "1. Found: RuntimeError: 5 (m.py:5)\n"
        "   Asked for: `one()`, a number:\n"
        "   1. `a` is 1\n"
        "2. Found: RuntimeError: 6 (m.py:6)\n"
        "3. Found: RuntimeError: 11 (m.py:11)\n"
        "   Asked for: Class `Two`:\n"
        "   1. has three\n"
    )


def test_what_one_class_lacks_is_asked_for_in_the_others_as_well() -> None:
    classes = [
        f"class {name}(Module):\n    def __init__(self):\n        self.a = {name.lower()}\n\n"
        for name in ("One", "Two")
    ]
    right = "class Right(Module):\n    def __init__(self):\n        super().__init__()\n"
    seen = "AttributeError: cannot assign module before Module.__init__() call"

    said = verdict_prompt(
        [Fault(("x",), (), seen, "m.py:7")], {"m.py": "".join([*classes, right])}, OUTPUTS, PROMPT
    )

    assert "   The same is missing in One.\n" in said
    assert "    def __init__(self):  # <-- look here\n        self.a = one\n" in said
    assert said.endswith(
        "class Two(Module):\n    <its lines, corrected>\n"
        "class One(Module):\n    <its lines, corrected>\n```\n"
    )


def test_a_torn_function_is_shown_and_asked_for_alone() -> None:
    torn = TEXT.replace("    a = 1", "    a = {1: }")
    fault = Fault((), (), "SyntaxError: expression expected", "m.py:5")

    said = verdict_prompt([fault], {"m.py": torn}, OUTPUTS, PROMPT, judged=False)

    assert said.startswith("Your files cannot be run:\n\n1. Found: SyntaxError: ")
    assert "```\ndef one():\n    a = {1: }  # <-- look here\n    return a\n```" in said
    assert said.endswith("def one():\n    <its lines, corrected>\n```\n")


def test_of_a_constant_the_value_is_asked_for() -> None:
    fault = Fault(("x",), ("do x",), "no x", "m.py:1")

    said = verdict_prompt([fault], {"m.py": "SIZE = 3\n"}, OUTPUTS, PROMPT)

    assert said.endswith("from math import pi\nSIZE = <its value, corrected>\n```\n")


def test_without_a_place_the_whole_file_is_asked_for() -> None:
    said = told(Fault(("x",), ("do x",), "no x"))

    assert said.endswith("\n\n" + PROMPT[PROMPT.rindex("```python") :])


def test_where_the_prompt_shows_no_file_its_names_are_told() -> None:
    fault = Fault(("x",), ("do x",), "no x")
    before, _, _ = PROMPT.rpartition("```python")

    said = verdict_prompt([fault], {"m.py": TEXT}, OUTPUTS, before)

    assert "```python path=m.py\n...the whole file, which defines one...\n```" in said


def test_a_prompt_warns_of_what_was_wrong_before_it_says_how_to_answer() -> None:
    found = [Fault((), (), "no x", "m.py:1"), Fault(("y",), ("do y",), "no y", "m.py:4")]

    said = warned(PROMPT, found, {"m.py": TEXT})

    assert (
        "Write m.py.\n\nAn earlier answer failed. Avoid this:\n\n- `import os` failed: no x\n"
        "- no y\n\n## ANSW"
    ) in said
    assert said.endswith(PROMPT[PROMPT.index("\n## ANSWER") :])
    assert warned("Write it.\n", found[:1], {}) == (
        "Write it.\n\nAn earlier answer failed. Avoid this:\n\n- no x\n"
    )
    assert warned(PROMPT, [], {}) == PROMPT


def test_a_warning_names_what_mends_it() -> None:
    found = [Fault(("x",), (), "NameError: name 'b' is not defined", "m.py:11")]

    said = warned("Write it.\n", found, {"m.py": TEXT})

    assert (
        "- `return b` failed: NameError: name 'b' is not defined (nothing here sets b: set it"
        in said
    )


def test_what_was_measured_comes_with_the_function_where_its_bullet_has_no_lines() -> None:
    lines = "`three(self)` of Two:\n1. it returns 3\n"
    prompt = f"## TASK\n\n- x: do x\n- y: do y\n  1. so\n\n{lines}"
    found = [Fault((name,), (f"do {name}",), f"no {name}", "m.py:11") for name in "xy"]
    for fault, told_too in zip(found, (True, False), strict=True):
        said = verdict_prompt([fault], {"m.py": TEXT}, OUTPUTS, prompt)
        assert ("   1. it returns 3\n" in said) == told_too


def test_what_the_prompt_says_below_a_bullet_is_said_again() -> None:
    fault = Fault(("x",), ("do x",), "no x", "m.py:5")

    said = verdict_prompt([fault], {"m.py": TEXT}, OUTPUTS, BULLETS)

    assert "1. Asked for: x: do x\n     1. first\n     2. second\n   Found: no x (m.py:5)" in said


def test_an_error_that_one_requirement_has_comes_with_what_it_asks_for() -> None:
    errors = [Fault(("x",), (), "IndexError: out", "m.py:5"), Fault(("x", "y"), (), "odd")]

    said = verdict_prompt(errors, {"m.py": TEXT}, OUTPUTS, BULLETS)

    assert (
        "1. Found: IndexError: out (m.py:5)\n   Asked for: x: do x\n     1. first\n"
        "     2. second\n2. Found: odd\n\n"
    ) in said


def test_of_many_causes_five_are_told() -> None:
    said = told(*(Fault((f"r{n}",), ("do it",), f"seen {n}") for n in range(8)))

    assert "seen 4" in said
    assert "seen 5" not in said
    assert "(3 more will be told when these are mended.)" in said


def test_what_has_one_cause_is_told_together() -> None:
    same = [Fault((name,), (f"do {name}",), "no import", "m.py:1") for name in "ab"]

    (fault,) = grouped(same)

    assert fault == Fault(("a", "b"), ("do a", "do b"), "no import", "m.py:1")
    assert "a: do a | b: do b" in told(fault)


def test_of_an_error_it_is_not_told_what_it_kept_from_being_measured() -> None:
    (fault,) = grouped(Fault((name,), (), "ImportError: no", "m.py:1") for name in "ab")

    assert "1. Found: ImportError: no (m.py:1)" in told(fault)
    assert fault.told() == "a, b: ImportError: no; m.py:1"


def test_an_error_comes_with_what_mends_it() -> None:
    said = told(Fault(("a",), (), "NameError: name 'os' is not defined", "m.py:5"))

    assert "(m.py:5)\n   Hint: add the line `import os` at the top of the file." in said


def test_what_mends_an_error_depends_on_the_function_around_it() -> None:
    text = (
        "def init(parts):\n    for m in parts:\n        if isinstance(m, dict):\n"
        "            m.clear()\n        m.bias = m.bias + 1\n"
    )
    fault = Fault(("a",), (), "AttributeError: 'Gate' object has no attribute 'bias'", "m.py:5")
    said = verdict_prompt([fault], {"m.py": text}, OUTPUTS, PROMPT)
    assert "Hint: m is Gate here, which has no bias: indent this line" in said
    assert "m is Gate here" in warned(PROMPT, [fault], {"m.py": text})


def test_an_import_that_a_file_lacks_is_shown_where_it_is_to_be_sent() -> None:
    json, os = (
        Fault((), (), f"ruff: Undefined name `{name}`", "m.py:5") for name in ("json", "os")
    )

    part, whole = told(json, os), told(json, Fault(("x",), ("do x",), "no x"))

    assert "path=m.py\nimport json\nimport os\nfrom math import pi\ndef one():\n" in part
    assert "path=m.py\nimport json\nimport os\nfrom math import pi\n<all of it>" in whole


def test_a_name_that_ruff_misses_is_not_told_again_where_it_is_used() -> None:
    found = Fault((), (), "ruff: Undefined name `b` (lines 5, 6)", "m.py:5")
    used = Fault(("x", "y"), (), "NameError: name 'b' is not defined", "m.py:5")

    assert told(found, used).count("1. Found") == 1
    alone = Fault(("x",), (), "NameError: name 'b' is not defined", "m.py:5")
    said = verdict_prompt([found, alone], {"m.py": TEXT}, OUTPUTS, BULLETS)
    assert "(lines 5, 6) (m.py:5)\n   Hint: " in said
    assert "\n   Asked for: x: do x\n" in said
    assert "2. Found" not in told(found, used)
    assert warned("", [found, used], {}).count("- ") == 1


def test_what_was_measured_and_what_was_not_are_two_causes() -> None:
    measured, error = Fault(("a",), ("do a",), "odd", "m.py:1"), Fault(("b",), (), "odd", "m.py:1")

    assert grouped([measured, error]) == (measured, error)


def test_a_forgotten_import_is_one_fault_however_often_it_is_missed() -> None:
    missed = [Finding("ruff", "Undefined name `nn`", "gate.py", line) for line in (1, 4, 5)]
    other = Finding("ruff", "Undefined name `torch`", "gate.py", 9)
    warning = Finding("ruff", "Unused import", "gate.py", 2, severity="warning")

    assert static_faults([*missed, warning, other]) == [
        Fault((), (), "ruff: Undefined name `nn` (lines 1, 4, 5)", "gate.py:1"),
        Fault((), (), "ruff: Undefined name `torch`", "gate.py:9"),
    ]
