"""What is no YAML, or not the YAML of a queue file, is refused with its place and a way out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from promptqueue.errors import QueueFileError
from promptqueue.queue.document import Place, read_document
from promptqueue.queue.load import load_queue
from promptqueue.queue.problem import Problem

from .conftest import TWO_STEPS, at_most, replaced


@pytest.mark.parametrize(
    ("queue", "message"),
    [
        pytest.param(
            replaced("    task: Write b.", "\ttask: Write b."),
            "q.yaml:9:1: YAML: while scanning a plain scalar found a tab character that violates "
            "indentation; indent with spaces\n"
            "     task: Write b.\n"
            "    ^\n"
            "1 problem in q.yaml",
            id="tab",
        ),
        pytest.param(
            replaced("Write a.", "a: b: c"),
            "q.yaml:5:12: YAML: mapping values are not allowed in this context; put a text that "
            "contains `: ` in quotes\n"
            "        task: a: b: c\n"
            "               ^\n"
            "1 problem in q.yaml",
            id="colon in a text",
        ),
        pytest.param(
            replaced("{path: a.py}", "{path: a.py"),
            "q.yaml:8:7: YAML: while parsing a flow mapping did not find expected ',' or '}'; is "
            "the bracket before it closed?\n"
            "      - id: b\n"
            "          ^\n"
            "1 problem in q.yaml",
            id="open bracket",
        ),
        pytest.param(
            TWO_STEPS + 'role: "abc\n',
            "q.yaml:12:7: YAML: while scanning a quoted scalar found unexpected end of stream; "
            "the quote that opens here is never closed\n"
            '    role: "abc\n'
            "          ^\n"
            "1 problem in q.yaml",
            id="open quote",
        ),
        pytest.param(
            replaced("Write a.", "{{ inputs.x }}"),
            "q.yaml:5:12: a key must be a plain word; a text that begins with { or [ needs quotes\n"
            "        task: {{ inputs.x }}\n"
            "               ^\n"
            "1 problem in q.yaml",
            id="a template without quotes",
        ),
        pytest.param(
            replaced("  - id: b", "    id: b"),
            "q.yaml:8:5: the key 'id' stands in line 4 already; keep one, or begin a new entry "
            "with `- `\n"
            "        id: b\n"
            "        ^\n"
            "q.yaml:9:5: the key 'task' stands in line 5 already; keep one, or begin a new entry "
            "with `- `\n"
            "        task: Write b.\n"
            "        ^\n"
            "q.yaml:10:5: the key 'outputs' stands in line 6 already; keep one, or begin a new "
            "entry with `- `\n"
            "        outputs:\n"
            "        ^\n"
            "3 problems in q.yaml",
            id="forgotten dash",
        ),
    ],
)
def test_shows_the_place_with_a_caret(refuse, queue: str, message: str):
    assert refuse(queue) == message


@pytest.mark.parametrize(
    ("queue", "start"),
    [
        pytest.param(
            TWO_STEPS + "name: z\n",
            "q.yaml:12:1: the key 'name' stands in line 2 already; keep one\n",
            id="twice",
        ),
        pytest.param(
            replaced("{path: a.py}", "{path: a.py, path: b.py}"),
            "q.yaml:7:22: the key 'path' stands in line 7 already",
            id="twice in one line",
        ),
        pytest.param(
            TWO_STEPS + "role: @foo\n",
            "q.yaml:12:7: YAML: while scanning for the next token found character that cannot "
            "start any token; put a text that begins with @",
            id="at sign",
        ),
        pytest.param(
            replaced("Write a.", "{{ inputs.x }} is"),
            "q.yaml:5:26: YAML: while parsing a block mapping did not find expected key; "
            "put a value that begins with {{ in quotes",
            id="a template and more without quotes",
        ),
        pytest.param(
            replaced("name: q", "name:q"),
            "q.yaml:3:1: YAML: while scanning a simple key could not find expected ':'; "
            "write `key: value`, with a blank",
            id="no blank after the colon",
        ),
        pytest.param(
            replaced("    task: Write b.", "   task: Write b."),
            "q.yaml:9:4: YAML: while parsing a block collection did not find expected '-' "
            "indicator; check the indentation",
            id="indentation",
        ),
        pytest.param(
            TWO_STEPS + "---\na: 1\n",
            "q.yaml:12:1: YAML: expected a single document in the stream but found another "
            "document; the file is one document",
            id="two documents",
        ),
        pytest.param(
            TWO_STEPS + "role: *nope\n", "q.yaml:12:7: YAML: found undefined alias", id="alias"
        ),
        pytest.param(
            replaced("Write a.", "a\x07b"),
            "q.yaml:5:12: YAML does not allow the character U+0007; remove it\n"
            "        task: a b\n"
            "               ^\n",
            id="control character",
        ),
        pytest.param("- a\n- b\n", "q.yaml:1:1: a queue file is a mapping", id="a list"),
        pytest.param("hello\n", "q.yaml:1:1: a queue file is a mapping", id="a text"),
        pytest.param("~\n", "q.yaml:1:1: a queue file is a mapping", id="null"),
        pytest.param("# nothing\n", "q.yaml is empty; `promptqueue schema`", id="comment"),
        pytest.param("", "q.yaml is empty; `promptqueue schema`", id="empty"),
        pytest.param(" \n\n", "q.yaml is empty; `promptqueue schema`", id="blank"),
        pytest.param(b"a: \0\n", "q.yaml is binary (a zero byte at 3)", id="zero byte"),
        pytest.param(
            b"\x89PNG\r\n", "q.yaml is not UTF-8 text (byte 0); save it as UTF-8", id="picture"
        ),
        pytest.param(
            TWO_STEPS.encode() + b"# \xe9\n", "q.yaml is not UTF-8 text (byte 158)", id="latin-1"
        ),
        pytest.param(TWO_STEPS.encode("utf-16"), "q.yaml is not UTF-8 text", id="utf-16"),
    ],
)
def test_refuses(refuse, queue: str | bytes, start: str):
    assert refuse(queue).startswith(start)


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        pytest.param("!!python/object/apply:os.system", "['touch owned']", id="call"),
        pytest.param("!!python/name:os.system", "''", id="name"),
        pytest.param("!include", "x.md", id="own tag"),
        pytest.param("!!binary", "aGVsbG8=", id="bytes"),
        pytest.param("!!set", "{a, b}", id="set"),
    ],
)
def test_tags_are_refused_once_and_never_obeyed(refuse, tag: str, value: str):
    message = refuse(TWO_STEPS + f"role: {tag} {value}\n")

    assert message.startswith(f"q.yaml:12:7: the tag {tag} is not known; write plain values")
    assert message.endswith("1 problem in q.yaml")
    assert not Path("owned").exists()


def test_a_value_with_a_tag_is_complained_of_once(refuse):
    message = refuse(TWO_STEPS + "limits: !x {calls: 1, unknown: 2}\n")

    assert message.startswith("q.yaml:12:9: the tag !x is not known;")
    assert message.endswith("\n1 problem in q.yaml")


def test_a_tag_on_the_whole_file_is_refused(refuse):
    assert refuse("!!python/object:os.x\n" + TWO_STEPS).startswith("q.yaml:1:1: the tag !!python")


NINE = [f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]" for i in range(9)]


@pytest.mark.parametrize(
    "queue",
    [
        pytest.param("\n".join(["a: &a [x, x, x, x, x, x, x, x, x]", *NINE]), id="billion laughs"),
        pytest.param("promptqueue: 1\nname: q\nsteps: &s [*s]\n", id="list in itself"),
        pytest.param("&r\npromptqueue: 1\nsteps: *r\n", id="mapping in itself"),
        pytest.param("a: " + "[" * 50 + "]" * 50, id="deep"),
        pytest.param("a: " + "[" * 200_000 + "]" * 200_000, id="deeper than the stack of C"),
        pytest.param("- " * 100_000 + "a\n", id="deep without brackets"),
        pytest.param("[" + "a," * 100_000 + "]", id="wide"),
    ],
)
def test_files_that_would_not_end_are_refused(refuse, queue: str):
    assert refuse(queue) == (
        "q.yaml: too many or too deeply nested values; do its YAML aliases (`*name`) multiply?"
    )


def test_a_directory_is_refused(write):
    write("x")
    Path("folder").mkdir()

    with pytest.raises(QueueFileError, match=r"^folder is a directory; name the YAML file in it$"):
        load_queue("folder")


def test_a_missing_file_names_its_neighbours(write):
    write("x", {"queues/lunar.yaml": "", "queues/solar.yml": "", "queues/notes.txt": ""})

    with pytest.raises(QueueFileError) as caught:
        load_queue("queues/luna.yaml")

    assert str(caught.value) == (
        "queues/luna.yaml does not exist; queues has lunar.yaml, solar.yml"
    )


@pytest.mark.parametrize("path", ["nowhere/q.yaml", "empty/q.yaml"])
def test_a_missing_file_without_neighbours(write, path: str):
    write("x", {"empty/readme.md": ""})

    with pytest.raises(QueueFileError) as caught:
        load_queue(path)

    assert str(caught.value) == f"{path} does not exist; check the path"


def test_a_name_that_no_system_allows_is_a_usage_error():
    with pytest.raises(QueueFileError, match="cannot be read: File name too long"):
        load_queue("x" * 5000)


def test_a_fifo_does_not_hang(write):
    write("x")
    os.mkfifo("pipe.yaml")

    with pytest.raises(QueueFileError) as caught, at_most(5):
        load_queue("pipe.yaml")

    assert str(caught.value) == "pipe.yaml is not a regular file; name a YAML file"


def test_a_huge_file_is_refused_without_being_read(write, monkeypatch):
    write("x")
    with Path("huge.yaml").open("wb") as file:
        file.truncate(100 << 20)
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was read"))

    with pytest.raises(QueueFileError) as caught:
        load_queue("huge.yaml")

    assert str(caught.value) == (
        "huge.yaml has 104,857,600 bytes, more than the 1,048,576 that anybody writes by hand; "
        "is it the right file?"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_a_usage_error(write):
    write(TWO_STEPS).chmod(0)

    with pytest.raises(QueueFileError, match=r"^q\.yaml cannot be read: Permission denied$"):
        load_queue("q.yaml")


@pytest.mark.parametrize(
    "queue",
    [
        pytest.param(b"\xef\xbb\xbf" + TWO_STEPS.encode(), id="byte order mark"),
        pytest.param(TWO_STEPS.replace("\n", "\r\n"), id="CRLF"),
        pytest.param(TWO_STEPS.replace("\n", "\r"), id="CR"),
        pytest.param("---\n" + TWO_STEPS + "...\n", id="document marks"),
    ],
)
def test_reads_every_kind_of_line_end_and_mark(load, queue: str | bytes):
    assert [step.task for step in load(queue).queue.steps] == ["Write a.", "Write b."]


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(lambda text: b"\xef\xbb\xbf" + text.encode(), id="byte order mark"),
        pytest.param(lambda text: text.replace("\n", "\r\n").encode(), id="CRLF"),
        pytest.param(lambda text: text.replace("\n", "\r").encode(), id="CR"),
        pytest.param(lambda text: text.replace("\n", "\x85").encode(), id="next line"),
    ],
)
def test_places_are_right_with_every_kind_of_line_end_and_mark(refuse, encoded):
    queue = "nmae: q\n" + replaced("name: q\n", "").replace("task: Write b.", "taks: Write b.")

    message = refuse(encoded(queue))

    assert "q.yaml:1:1: unknown key 'nmae'; did you mean 'name'?\n    nmae: q\n    ^\n" in message
    assert (
        "q.yaml:9:5: unknown key 'taks'; did you mean 'task'?\n        taks: Write b.\n        ^\n"
    ) in message


@pytest.mark.parametrize(
    ("written", "value"),
    [
        pytest.param("2024-01-31", "2024-01-31", id="a date is a text"),
        pytest.param("2024-13-45", "2024-13-45", id="no date is a text"),
        pytest.param("1:30", "1:30", id="not base sixty"),
        pytest.param("=", "=", id="equals sign"),
        pytest.param("12", 12, id="int"),
        pytest.param("1.5", 1.5, id="float"),
        pytest.param("no", False, id="bool"),
        pytest.param("'no'", "no", id="quotes"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_reads_plain_values(write, written: str, value: object):
    document = read_document(write(f"a: {written}\n"))

    assert document.data == {"a": value}
    assert document.problems == []


def test_keys_are_texts(write):
    assert read_document(write("on: 1\n2: 2\n~: 3\n")).data == {"on": 1, "2": 2, "~": 3}


def test_a_number_too_long_for_python_is_a_problem_in_our_words(write):
    document = read_document(write("a: 1" + "0" * 5000 + "\n"))

    assert [problem.message for problem in document.problems] == [
        "this is not a valid int; put a text in quotes"
    ]


def problem_in(source: str, column: int) -> str:
    return str(Problem(Place("f", 1, column), "wrong", source))


def test_a_long_line_is_shown_around_the_place():
    *_, shown, caret = problem_in("a" * 500 + "X" + "b" * 500, 501).split("\n")

    assert shown == "    …" + "a" * 80 + "X" + "b" * 79 + "…"
    assert shown[caret.index("^")] == "X"


def test_the_end_of_a_long_line_is_shown():
    *_, shown, caret = problem_in("a" * 500 + "X", 501).split("\n")

    assert shown == "    …" + "a" * 80 + "X"
    assert shown[caret.index("^")] == "X"


def test_control_characters_of_a_foreign_file_do_not_reach_the_terminal():
    assert problem_in("a\x1b[31m\tX", 8) == "f:1:8: wrong\n    a [31m X\n           ^"


def test_a_problem_without_a_line_shows_no_caret():
    assert problem_in("  ", 1) == "f:1:1: wrong"
