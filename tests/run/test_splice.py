"""A function that was sent alone goes into its file, and nothing else of the file changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptqueue.run.splice import spliced, unit_at

WHOLE = '''"""A module."""
import math

SIZE = 3


@staticmethod
def first(x):
    # a remark
    return x + 1


class Second:
    """With a method."""

    def third(self):
        return SIZE


def last():
    return 4
'''


def test_a_function_takes_the_place_of_its_old_self() -> None:
    mended = spliced(WHOLE, "def first(x):\n    return x + 2\n")

    assert mended == WHOLE.replace(
        "@staticmethod\ndef first(x):\n    # a remark\n    return x + 1",
        "def first(x):\n    return x + 2",
    )


def test_new_imports_helpers_and_constants_come_along() -> None:
    part = "import os\nimport math\nLIMIT = SIZE\nSIZE = 9\ndef help(): ...\ndef last(): return 5"

    mended = spliced(WHOLE, part)

    assert mended is not None
    names: dict[str, object] = {}
    exec(mended.replace("@staticmethod\n", ""), names)
    assert (names["LIMIT"], names["SIZE"]) == (9, 9)
    assert names["last"]() == 5  # type: ignore[operator]
    assert mended.count("import math") == 1
    assert "os" in names
    assert mended.index("def help") < mended.index("def last")


def test_a_constant_takes_the_place_of_its_old_self() -> None:
    part = "import os\n\nSIZE = [\n    os.sep,\n]\n"

    assert spliced(WHOLE, part) == WHOLE.replace(
        "import math\n\nSIZE = 3", "import math\nimport os\n\nSIZE = [\n    os.sep,\n]"
    )


@pytest.mark.parametrize(
    "part",
    [
        pytest.param("def other(): ...", id="nothing of it is known"),
        pytest.param("x = 1", id="defines nothing"),
        pytest.param("def first(:", id="does not parse"),
        pytest.param("def first(x): ...\nclass Second: ...\ndef last(): ...", id="the whole file"),
        pytest.param("", id="empty"),
    ],
)
def test_what_is_no_part_is_left_alone(part: str) -> None:
    assert spliced(WHOLE, part) is None


@pytest.mark.parametrize(
    "part",
    [
        pytest.param("def show():\n    return plt.plot(SIZE)\n", id="neither is there"),
        pytest.param("SIZE = 3\ndef show():\n    return plt.plot(SIZE)\n", id="one is there"),
    ],
)
def test_the_only_function_without_its_imports_is_a_part(part: str) -> None:
    whole = "import a.plot as plt\n\nSIZE = 3\n\n\ndef show():\n    return SIZE\n"

    assert spliced(whole, part) == whole.replace("return SIZE", "return plt.plot(SIZE)")


def test_the_only_function_with_all_that_it_names_is_the_file_anew() -> None:
    whole = "import a.plot as plt\n\nSIZE = 3\n\n\ndef show():\n    return SIZE\n"

    assert spliced(whole, "SIZE = 4\n\n\ndef show():\n    return SIZE\n") is None
    assert spliced(whole, "def show():\n    return 4\n") is None


def test_a_function_that_is_new_stands_behind_what_the_file_defines() -> None:
    whole = f"{WHOLE}\n\nif __name__ == '__main__':\n    last()\n"

    mended = spliced(whole, "import os\nimport math\n\ndef other(): return os.sep\n", adding=True)

    assert mended == whole.replace("import math\n", "import math\nimport os\n").replace(
        "    return 4\n", "    return 4\n\n\ndef other(): return os.sep\n"
    )


@pytest.mark.parametrize(
    ("whole", "part"),
    [
        pytest.param("", "def other(): ...", id="there is no file"),
        pytest.param("import math\n", "def other(): ...", id="the file defines nothing"),
        pytest.param(WHOLE, "result = last()\n", id="it uses the file"),
        pytest.param(WHOLE, "import os\n", id="it defines nothing"),
        pytest.param("def a(): ...\n", "def a(): ...\ndef b(): ...\n", id="it has all of the file"),
    ],
)
def test_what_is_no_addition_is_left_alone(whole: str, part: str) -> None:
    assert spliced(whole, part, adding=True) is None


def test_a_future_import_stays_in_front() -> None:
    part = "from __future__ import annotations\n\ndef last():\n    return 5\n"

    mended = spliced(WHOLE, part)

    assert mended is not None
    compile(mended, "mended.py", "exec")


CLASS = '''import math


class Gate(Base):
    def __init__(self):
        self.scale = 2

    @property
    def area(self):
        """Two lines,
both of them."""
        return math.pi

    def forward(self, x):
        return x
'''


KEPT = '''
    def __init__(self):
        self.scale = 2

    @property
    def area(self):
        """Two lines,
both of them."""
        return math.pi
'''


@pytest.mark.parametrize(
    ("part", "kept"),
    [
        pytest.param(
            "class Gate(Base):\n    def forward(self, x):\n        return 2 * x\n",
            KEPT,
            id="others stay",
        ),
        pytest.param(
            "class Gate(Base):\n  def forward(self, x):\n    return 2 * x\n",
            KEPT.replace("\n    ", "\n  "),
            id="moved to the left",
        ),
    ],
)
def test_methods_that_were_not_sent_stay(part: str, kept: str) -> None:
    mended = spliced(CLASS, part)

    assert mended == f"import math\n\n\n{part}{kept}"
    compile(mended, "mended.py", "exec")


def test_a_class_with_another_life_takes_the_place_of_the_old_one() -> None:
    part = "class Second:\n    def other(self):\n        return 1\n"

    assert spliced(WHOLE, part) == WHOLE.replace(
        'class Second:\n    """With a method."""\n\n    def third(self):\n        return SIZE\n',
        part,
    )


TORN = WHOLE.replace("return SIZE", "return {'size'")


def test_a_torn_definition_is_mended_by_a_whole_one() -> None:
    part = WHOLE[WHOLE.index("class Second") : WHOLE.index("\n\n\ndef last")]

    assert spliced(TORN, part) == WHOLE


def test_a_torn_definition_goes_where_the_whole_one_was() -> None:
    part = TORN[TORN.index("class Second") : TORN.index("\n\n\ndef last")]

    assert spliced(WHOLE, part) == TORN


def test_what_is_torn_in_two_places_or_at_its_head_is_not_mended() -> None:
    part = "def last():\n    return 5\n"

    assert spliced(TORN.replace("return 4", "return ("), part) is None
    assert spliced(WHOLE.replace("def last():", "def last(:"), part) is None


def test_a_line_of_a_torn_definition_belongs_to_it() -> None:
    unit = unit_at(TORN, 17)

    assert unit is not None
    assert unit.opening == "class Second:"


@given(st.text(max_size=80), st.text(max_size=80))
def test_no_text_breaks_it(whole: str, part: str) -> None:
    mended = spliced(whole, part)
    assert mended is None or isinstance(mended, str)


@pytest.mark.parametrize(
    ("line", "opening"),
    [
        (4, "SIZE ="),
        (7, "@staticmethod\ndef first(x):"),
        (10, "@staticmethod\ndef first(x):"),
        (17, "class Second:"),
        (21, "def last():"),
    ],
)
def test_a_line_belongs_to_what_stands_around_it(line: int, opening: str) -> None:
    unit = unit_at(WHOLE, line)

    assert unit is not None
    assert unit.opening == opening


@pytest.mark.parametrize("line", [0, 1, 19, 99])
def test_a_line_between_belongs_to_nothing(line: int) -> None:
    assert unit_at(WHOLE, line) is None


def test_an_opening_is_without_the_body_however_it_is_written() -> None:
    one_line = unit_at("def f(x, y=(1, 2)) -> int: return x\n", 1)
    several_lines = unit_at("class A(\n    B,\n    metaclass=C,\n):\n    x = 1\n", 2)

    assert (one_line, several_lines) == (
        ("f", "def f(x, y=(1, 2)) -> int:"),
        ("A", "class A(B, metaclass=C):"),
    )


def test_an_import_below_what_is_replaced_does_not_lead_into_it() -> None:
    whole = "def first():\n    return 1\n\n\nimport json\n\n\ndef last():\n    return json\n"
    part = (
        "import os\ndef first():\n    size = os.sep\n" + "    size += ''\n" * 5 + "    return size"
    )

    mended = spliced(whole, part)

    names: dict[str, object] = {}
    exec(mended or "", names)
    assert names["first"]() == "/"  # type: ignore[operator]
    assert "last" in names


@pytest.mark.parametrize("odd", ["\f", "\u2028", "\x85"])
def test_lines_are_those_that_the_parser_counts(odd: str) -> None:
    whole = f"TEXT = 'a{odd}b'\n\n\ndef first():\n    return 1\n"

    assert spliced(whole, "def first():\n    return TEXT\n") == whole.replace("1", "TEXT")
