"""ruff on generated code: Python itself says what stops, and no more is told than anybody reads."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from promptqueue.errors import UsageError
from promptqueue.verify import ruff
from promptqueue.verify.ruff import ruff_findings


def told(folder: Path) -> list[tuple[str, int, str, str]]:
    return [(each.path, each.line, each.rule, each.severity) for each in ruff_findings(folder)]


def test_what_is_wrong_is_told_by_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "b.py").write_text("import os\n\nnothing\n")
    (tmp_path / "a.py").write_text("def f(:\n")

    found = told(tmp_path)

    assert {(path, severity) for path, _, _, severity in found if path == "a.py"} == {
        ("a.py", "error")
    }
    assert ("b.py", 1, "F401", "warning") in found
    assert ("b.py", 3, "F821", "error") in found
    assert found == sorted(found)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("ruff.toml", "lint"),
        (".ruff.toml", "lint"),
        ("pyproject.toml", "tool.ruff.lint"),
    ],
)
@pytest.mark.parametrize("where", ["beside", "above"])
def test_it_is_deaf_to_every_configuration(
    tmp_path: Path, name: str, table: str, where: str
) -> None:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "a.py").write_text("x = nothing  # noqa\n")
    text = f'[{table}.per-file-ignores]\n"*" = ["F"]\n'
    (folder if where == "beside" else tmp_path).joinpath(name).write_text(text)

    assert told(folder) == [("a.py", 1, "F821", "error")]


@pytest.mark.parametrize(
    ("line", "severity"), [("a", "error"), ("import a", "warning"), ("def f(:", "error")]
)
def test_more_than_anybody_reads_is_one_finding(tmp_path: Path, line: str, severity: str) -> None:
    (tmp_path / "a.py").write_text(f"{line}\n" * 3000 + "x = nothing\n")

    found = [*ruff_findings(tmp_path)]

    assert [each.message for each in found if not each.path and each.severity == severity] == [
        "too many problems: 1,000 are told, and there are more"
    ]
    assert len(found) <= 2002
    assert severity == "error" or "Undefined name `nothing`" in {each.message for each in found}


def test_a_problem_of_great_length_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ruff, "_MOST_BYTES", 1000)
    (tmp_path / "a.py").write_text("a\n" * 20)

    found = [*ruff_findings(tmp_path)]

    assert len(found) < 20
    assert "too many problems" in found[-1].message


def test_ruff_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ruff").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "ruff").chmod(0o755)
    monkeypatch.setattr(ruff, "_ruff", lambda: str(tmp_path / "ruff"))
    monkeypatch.setattr(ruff, "_TIME_S", 0.2)

    assert [each.message for each in ruff_findings(tmp_path)] == [
        "the files keep ruff busy for more than 0.2 s"
    ]


def test_ruff_that_fails_is_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ruff").write_text("#!/bin/sh\necho no such rule >&2\nexit 2\n")
    (tmp_path / "ruff").chmod(0o755)
    monkeypatch.setattr(ruff, "_ruff", lambda: str(tmp_path / "ruff"))

    with pytest.raises(UsageError, match="ruff failed: no such rule"):
        [*ruff_findings(tmp_path)]


RUNS = {
    "F631": "try:\n    assert (1, 'one')\nexcept AssertionError:\n    pass",
    "F632": "x = 'a'\nx is 'a'",
    "F634": "if (0, 1):\n    pass",
    "F722": "def f(x: Float[Tensor, 'b c']): ...\nf(1)",
    "PLE0101": "class A:\n    def __init__(self):\n        return super().__init__()\nA()",
    "PLE0605": "__all__ = 'f'",
    "PLE0704": "def again():\n    raise\ntry:\n    try:\n        1 / 0\n    except "
    "ZeroDivisionError:\n        again()\nexcept ZeroDivisionError:\n    pass",
    "PLE1205": "import logging\nlogging.debug('%s', 1, 2)",
    "PLE1206": "import logging\nlogging.debug('%s %s', 1)",
    "PLE1310": "'https://a'.lstrip('https://')",
    "PLE2502": "x = '\u202e'",
    "PLE2513": "x = '\x1b'",
    "PLE2515": "x = '\u200b'",
}
STOPS = {
    "F633": "import sys\nprint >> sys.stdout, 'a'",
    "F701": "break",
    "F706": "return 1",
    "F707": "try:\n    pass\nexcept:\n    pass\nexcept KeyError:\n    pass",
    "F821": "nothing",
    "F823": "def f():\n    x\n    x = 1\nx = 2\nf()",
    "PLE0100": "class A:\n    def __init__(self):\n        yield\nA()",
    "PLE0115": "def f():\n    x = 1\n    def g():\n        global x\n        nonlocal x\nf()",
    "PLE0117": "def f():\n    nonlocal x",
    "PLE0118": "x = 1\ndef f():\n    print(x)\n    global x",
    "PLE0237": "class A:\n    __slots__ = ('a',)\n    def __init__(self):\n        self.b = 1\nA()",
    "PLE0241": "class A: ...\nclass B(A, A): ...",
    "PLE0302": "class A:\n    def __bool__(self, x): ...\nbool(A())",
    "PLE0303": "class A:\n    def __len__(self):\n        return 'a'\nlen(A())",
    "PLE0305": "class A:\n    def __index__(self):\n        return 'a'\n[1][A()]",
    "PLE0307": "class A:\n    def __str__(self):\n        return 1\nstr(A())",
    "PLE0308": "class A:\n    def __bytes__(self):\n        return 1\nbytes(A())",
    "PLE0309": "class A:\n    def __hash__(self):\n        return 'a'\nhash(A())",
    "PLE0643": "print([1, 2][3])",
    "PLE1132": "dict(a=1, a=2)",
    "PLE1142": "def f():\n    await f()",
    "PLE1300": "'%y' % 1",
    "PLE1307": "'%d' % '1'",
    "PLE1507": "import os\nos.getenv(1)",
    "PLE1700": "async def f():\n    yield from f()",
}


def run(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(text, "judged", "exec", dont_inherit=True), {})


def found(folder: Path, text: str) -> dict[str, set[str]]:
    (folder / "a.py").write_text(text, "utf-8")
    severities: dict[str, set[str]] = {}
    for each in ruff_findings(folder):
        severities.setdefault(each.rule, set()).add(each.severity)
    return severities


@pytest.mark.parametrize("rule", RUNS)
def test_what_runs_is_but_warned_of(tmp_path: Path, rule: str) -> None:
    text = RUNS[rule]
    run("from __future__ import annotations\n" + text if rule == "F722" else text)

    severities = found(tmp_path, text)

    assert severities[rule] == {"warning"}


@pytest.mark.parametrize("rule", STOPS)
def test_what_cannot_run_is_red(tmp_path: Path, rule: str) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever stops it
        run(STOPS[rule])

    severities = found(tmp_path, STOPS[rule])

    told = {*severities} & {rule, "E999", "invalid-syntax"}
    assert told, severities
    assert {severity for each in told for severity in severities[each]} == {"error"}


FUTURE = "from __future__ import annotations\n"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(FUTURE + "def f(x: Optional[int]) -> Tensor: ...", id="postponed"),
        pytest.param(FUTURE + "class A:\n    x: Optional[int] = None", id="postponed in a class"),
        pytest.param("def f(x: 'Optional[int]') -> 'Tensor': ...", id="quoted"),
        pytest.param("def f(x: list['Tensor']): ...", id="quoted in part"),
        pytest.param("def f(größe: int, x: 'Tensor'): ...", id="behind other letters"),
        pytest.param(
            "def f():\n    x: Optional[int] = None\nf()", id="of a variable in a function"
        ),
        pytest.param("\ufeff" + FUTURE + "def f(x: Optional[int]): ...", id="byte order mark"),
    ],
)
def test_a_name_in_an_annotation_that_nobody_evaluates_stops_nothing(
    tmp_path: Path, text: str
) -> None:
    run(text.removeprefix("\ufeff"))

    assert found(tmp_path, text)["F821"] == {"warning"}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("def f(x: Optional[int]): ...", id="evaluated"),
        pytest.param("x: Optional[int] = None", id="of a module's variable"),
        pytest.param(
            "def f():\n    class A:\n        x: Optional[int]\nf()", id="of a class in a function"
        ),
        pytest.param(FUTURE + "def f(x: int = nothing): ...", id="default"),
        pytest.param("def f(x: list['int', Tensor]): ...", id="beside what is quoted"),
        pytest.param("def f(x: 'int') -> Tensor: ...", id="behind what is quoted"),
    ],
)
def test_a_name_in_an_annotation_that_is_evaluated_must_be_there(tmp_path: Path, text: str) -> None:
    with pytest.raises(NameError):
        run(text)

    assert found(tmp_path, text)["F821"] == {"error"}


def test_a_message_is_one_printable_line_whatever_the_code_is_called(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text('__all__ = ["\\x1b[2J\\n::error::x"]\n')

    (finding,) = ruff_findings(tmp_path)

    assert finding.rule == "F822"
    assert finding.message.isprintable()
