"""What a small model really sends: the path a line too low, several files in one fence."""

from __future__ import annotations

import pytest

from promptqueue.queue.model import Output
from promptqueue.run.extract import extract_modules

OUTPUTS = (Output(path="a.py", symbols=("a",)), Output(path="b.py"))


def texts(reply: str) -> dict[str, str]:
    found = extract_modules(reply, OUTPUTS)
    return {path: module.text for path, module in found.modules.items()}


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("```python\npath=a.py\na = 1\n```\n", {"a.py": "a = 1\n"}),
        ("```python\npath = 'a.py'\na = 1\n```\n", {"a.py": "a = 1\n"}),
        ("```python\nfile: a.py\na = 1\n```\n", {"a.py": "a = 1\n"}),
        ("**a.py**\n```python\npath=a.py\na = 1\n```\n", {"a.py": "a = 1\n"}),
        (
            "```python\n# path=a.py\na = 1\n\n# path=b.py\nb = 2\n```\n",
            {"a.py": "# path=a.py\na = 1\n\n", "b.py": "# path=b.py\nb = 2\n"},
        ),
        (
            "a.py:\n```python\na = 1\npath=b.py\nb = 2\n```\n",
            {"a.py": "a = 1\n", "b.py": "b = 2\n"},
        ),
        (  # a fence that names its path is taken at its word
            "```python path=a.py\na = 1\n# path=b.py\nb = 2\n```\n",
            {"a.py": "a = 1\n# path=b.py\nb = 2\n"},
        ),
        (  # a path that is not declared, or a line of code that only looks similar, stays
            "```python\npath=a.py\na = 1\n# path=c.py\n    path=b.py\nx = dict(path='b.py')\n```\n",
            {"a.py": "a = 1\n# path=c.py\n    path=b.py\nx = dict(path='b.py')\n"},
        ),
        (  # the same path again is no new file
            "```python\npath=a.py\na = 1\n# path=a.py\nc = 2\n```\n",
            {"a.py": "a = 1\n# path=a.py\nc = 2\n"},
        ),
    ],
    ids=[
        *("a line too low", "quoted", "as a key", "twice", "two in one fence"),
        *("two, the first named above", "named by the fence", "no mark", "the same path"),
    ],
)
def test_marks_inside_a_block(reply: str, expected: dict[str, str]) -> None:
    assert texts(reply) == expected


def test_of_a_cut_block_only_the_last_file_is_truncated() -> None:
    reply = "```python\n# path=a.py\na = 1\n# path=b.py\nb = (2"
    found = extract_modules(reply, OUTPUTS, finish_reason="length")
    assert {issue.path for issue in found.issues if issue.fatal} == {"b.py"}


def test_an_assignment_does_not_cut_a_file_in_two() -> None:
    reply = '**a.py**\n```python\nimport json\n\nFILE = "b.py"\n\n\ndef a(): ...\n```\n'
    assert texts(reply) == {"a.py": 'import json\n\nFILE = "b.py"\n\n\ndef a(): ...\n'}


@pytest.mark.parametrize("label", ["**a.py**", "Here is the code for a.py:"])
def test_an_assignment_in_the_first_line_of_another_file_is_code(label: str) -> None:
    text = 'FILE = "b.py"\n\n\ndef a(): ...\n'

    assert texts(f"{label}\n```python\n{text}```\n") == {"a.py": text}
