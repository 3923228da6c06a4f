"""Inputs are typed: --set wins over a file, and that over defaults; all problems come at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptqueue.errors import QueueFileError, UsageError
from promptqueue.queue.inputs import Value, known_inputs, resolve_inputs, setting
from promptqueue.queue.model import Queue

STEP = {"id": "a", "task": "x", "outputs": [{"path": "a.py"}]}


def queue_with(**inputs: dict[str, object]) -> Queue:
    return Queue.model_validate({"promptqueue": 1, "name": "q", "inputs": inputs, "steps": [STEP]})


@pytest.mark.parametrize(
    ("kind", "written", "value"),
    [
        ("str", "ru", "ru"),
        ("str", "", ""),
        ("str", "a=b", "a=b"),
        ("str", "5", "5"),
        ("int", "5", 5),
        ("int", "-5", -5),
        ("int", " 5 ", 5),
        ("float", "0.5", 0.5),
        ("float", "5", 5.0),
        ("float", "1e-3", 0.001),
        ("bool", "true", True),
        ("bool", "Yes", True),
        ("bool", "on", True),
        ("bool", "1", True),
        ("bool", "FALSE", False),
        ("bool", "no", False),
        ("bool", "off", False),
        ("bool", "0", False),
    ],
)
def test_reads_settings_in_the_declared_type(kind: str, written: str, value: object):
    values = resolve_inputs(queue_with(n={"type": kind}), [f"n={written}"])

    assert values == {"n": value}
    assert type(values["n"]) is type(value)


@pytest.mark.parametrize(
    ("spec", "written", "message"),
    [
        ({"type": "int"}, "x", "the input 'n' is a whole number, such as 5, not 'x'"),
        ({"type": "int"}, "1.5", "the input 'n' is a whole number, such as 5, not '1.5'"),
        ({"type": "int"}, "", "the input 'n' is a whole number, such as 5, not ''"),
        ({"type": "float"}, "nan", "the input 'n' is a number, such as 0.5, not 'nan'"),
        ({"type": "float"}, "inf", "the input 'n' is a number, such as 0.5, not 'inf'"),
        ({"type": "bool"}, "maybe", "the input 'n' is true or false, not 'maybe'"),
        ({"type": "str", "choices": ["a", "b"]}, "c", "the input 'n' is one of a, b, not 'c'"),
        ({"type": "int", "choices": [1, 2]}, "3", "the input 'n' is one of 1, 2, not '3'"),
        ({"type": "int", "min": 2}, "1", "the input 'n' is at least 2, not 1"),
        ({"type": "float", "max": 0.5}, "0.6", "the input 'n' is at most 0.5, not 0.6"),
    ],
)
def test_refuses_settings(spec: dict[str, object], written: str, message: str):
    with pytest.raises(UsageError) as caught:
        resolve_inputs(queue_with(n=spec), [f"n={written}"])

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("spec", "written", "value"),
    [
        ({"type": "int", "min": 2, "max": 4}, "2", 2),
        ({"type": "int", "min": 2, "max": 4}, "4", 4),
        ({"type": "int", "choices": [1, 2]}, "2", 2),
        ({"type": "str", "choices": [1, 2]}, "2", "2"),
    ],
    ids=["least", "most", "choice", "choice written as a number"],
)
def test_takes_the_limits_themselves(spec: dict[str, object], written: str, value: object):
    assert resolve_inputs(queue_with(n=spec), [f"n={written}"]) == {"n": value}


def test_settings_win_over_the_file_and_that_over_defaults(tmp_path: Path):
    queue = queue_with(
        a={"type": "int", "default": 1},
        b={"type": "int", "default": 1},
        c={"type": "int", "default": 1},
    )
    file = tmp_path / "inputs.yaml"
    file.write_text("b: 2\nc: 2\n")

    assert resolve_inputs(queue, ["c=3"], file) == {"a": 1, "b": 2, "c": 3}


def test_inputs_of_an_earlier_run_hold_as_far_as_the_queue_has_them():
    queue = queue_with(
        a={"type": "int", "default": 1},
        b={"type": "int", "default": 1},
        new={"type": "int", "default": 1},
    )

    assert known_inputs({"a": 5, "gone": 5}, queue) == {"a": 5, "b": 1, "new": 1}
    assert resolve_inputs(queue, ["a=7"], before={"a": 5, "b": 5}) == {"a": 7, "b": 5, "new": 1}


@pytest.mark.parametrize(
    ("kind", "value"),
    [("str", " a=b "), ("int", -5), ("float", 1e-07), ("bool", True), ("bool", False)],
)
def test_a_value_written_as_a_setting_is_read_again(kind: str, value: Value):
    assert resolve_inputs(queue_with(n={"type": kind}), [setting("n", value)]) == {"n": value}


def test_the_last_of_equal_settings_wins():
    assert resolve_inputs(queue_with(n={"type": "int"}), ["n=1", "n=2"]) == {"n": 2}


def test_all_problems_come_at_once():
    queue = queue_with(
        language={"type": "str", "choices": ["ru", "en"], "default": "ru"},
        classes={"type": "int"},
        size={"type": "int", "default": 1},
    )

    with pytest.raises(UsageError) as caught:
        resolve_inputs(queue, ["langage=en", "language=fr", "size", "=3", "zzz=1"])

    assert str(caught.value) == (
        "--set size: write it as name=value, for instance language=en\n"
        "--set =3: write it as name=value, for instance language=en\n"
        "the queue has no input 'langage'; did you mean 'language'?\n"
        "the queue has no input 'zzz'; it has language, classes, size\n"
        "the input 'language' is one of ru, en, not 'fr'\n"
        "the input 'classes' has no value; give it with --set classes=..."
    )


def test_a_queue_without_inputs_takes_none():
    with pytest.raises(UsageError, match=r"^the queue has no input 'x'; it has no inputs$"):
        resolve_inputs(queue_with(), ["x=1"])


@pytest.mark.parametrize(
    ("kind", "written", "value"),
    [
        ("str", "ru", "ru"),
        ("str", "5", "5"),
        ("str", "2024-01-31", "2024-01-31"),
        ("str", "'no'", "no"),
        ("int", "5", 5),
        ("int", "5.0", 5),
        ("float", "5", 5.0),
        ("bool", "yes", True),
        ("bool", "'off'", False),
    ],
)
def test_reads_a_file_in_the_declared_type(tmp_path: Path, kind: str, written: str, value: object):
    file = tmp_path / "inputs.yaml"
    file.write_text(f"n: {written}\n")

    assert resolve_inputs(queue_with(n={"type": kind}), file=file) == {"n": value}


@pytest.mark.parametrize(
    ("kind", "written", "message"),
    [
        (
            "str",
            "no",
            "the input 'n' is a text (in quotes, where it looks like something else), not false",
        ),
        (
            "str",
            "[a]",
            "the input 'n' is a text (in quotes, where it looks like something else), not ['a']",
        ),
        ("int", "yes", "the input 'n' is a whole number, such as 5, not true"),
        ("int", "1.5", "the input 'n' is a whole number, such as 5, not 1.5"),
        ("int", ".inf", "the input 'n' is a whole number, such as 5, not inf"),
        ("float", "yes", "the input 'n' is a number, such as 0.5, not true"),
        ("float", "{a: 1}", "the input 'n' is a number, such as 0.5, not {'a': 1}"),
        ("bool", "2", "the input 'n' is true or false, not 2"),
        ("bool", "[a]", "the input 'n' is true or false, not ['a']"),
        ("int", "", "the input 'n' has no value; give it with --set n=..."),
    ],
)
def test_refuses_values_of_a_file(tmp_path: Path, kind: str, written: str, message: str):
    file = tmp_path / "inputs.yaml"
    file.write_text(f"n: {written}\n")

    with pytest.raises(UsageError) as caught:
        resolve_inputs(queue_with(n={"type": kind}), file=file)

    assert str(caught.value) == f"{file}: {message}"


def test_what_is_wrong_is_placed_where_it_was_given(tmp_path: Path):
    file = tmp_path / "inputs.yaml"
    file.write_text("m: 1\nn: many\no: 1.5\n")
    queue = queue_with(n={"type": "int"}, o={"type": "int"}, p={"type": "int"})

    with pytest.raises(UsageError) as caught:
        resolve_inputs(queue, ["o=few"], file)

    assert str(caught.value).splitlines() == [
        f"{file}: the queue has no input 'm'; it has n, o, p",
        f"{file}: the input 'n' is a whole number, such as 5, not 'many'",
        "the input 'o' is a whole number, such as 5, not 'few'",
        "the input 'p' has no value; give it with --set p=...",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- a\n", "{}: an inputs file is a mapping of names to values"),
        ("n: 1\nn: 2\n", "{}:2:1: the key 'n' stands in line 1 already; keep one"),
        ("n: !x 1\n", "{}:1:4: the tag !x is not known; write plain values without tags"),
        ("n: [1\n", "{}:2:1: YAML: while parsing a flow sequence did not find expected"),
        ("", "{} is empty;"),
    ],
    ids=["list", "twice", "tag", "syntax", "empty"],
)
def test_refuses_files(tmp_path: Path, content: str, message: str):
    file = tmp_path / "inputs.yaml"
    file.write_text(content)

    with pytest.raises(UsageError) as caught:
        resolve_inputs(queue_with(n={"type": "int"}), file=file)

    assert str(caught.value).startswith(message.format(file))


def test_a_missing_file_is_a_usage_error(tmp_path: Path):
    with pytest.raises(QueueFileError, match="does not exist; check the path"):
        resolve_inputs(queue_with(), file=tmp_path / "inputs.yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "inputs.yaml is empty; write a line `name: value` for each input"),
        ("# nothing\n", "inputs.yaml is empty; write a line `name: value` for each input"),
        ("n: 1\n---\nn: 2\n", "; the file is one document: remove this line and what follows"),
    ],
    ids=["empty", "comment", "two documents"],
)
def test_a_file_of_inputs_is_not_called_a_queue(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "inputs.yaml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        resolve_inputs(queue_with(n={"type": "int"}), file=file)
    assert words in str(caught.value)
    assert "queue" not in str(caught.value).replace(str(tmp_path), "")
