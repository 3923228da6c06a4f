"""A function that was sent alone goes into its file, and nothing else of the file changes."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptqueue.run.splice import spliced
from promptqueue.verify.lint import top_level_names
from tests.run.module import WHOLE


def imported(text: str) -> dict[str, object]:
    names: dict[str, object] = {"__name__": "mended"}
    exec(compile(text, "mended.py", "exec", dont_inherit=True), names)
    return names


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
    names = imported(mended.replace("@staticmethod\n", ""))
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


@pytest.mark.parametrize(
    "head",
    [
        "LIMIT: int = 3",
        "LIMIT, OTHER = 1, 2",
        "try:\n    from limits import LIMIT\nexcept ImportError:\n    LIMIT = None",
        "from limits import *",
    ],
)
def test_the_only_function_leans_on_whatever_binds_its_names(head: str) -> None:
    whole = f"{head}\n\n\ndef show():\n    return LIMIT\n"

    assert spliced(whole, "def show():\n    return -LIMIT\n") == whole.replace(
        "return LIMIT", "return -LIMIT"
    )


@pytest.mark.parametrize(
    "run",
    [
        pytest.param("if __name__ == '__main__':\n    main()\n", id="the main guard"),
        pytest.param("main.done = True\n", id="an attribute is set"),
    ],
)
def test_the_only_function_does_not_displace_what_runs_beside_it(run: str) -> None:
    whole = f"import os\n\n\ndef main():\n    return 1\n\n\n{run}"
    other = run.replace("True", "False").replace("main()", "print(main())")

    assert spliced(whole, "import os\n\n\ndef main():\n    return 2\n") == whole.replace("1", "2")
    assert spliced(whole, whole.replace("1", "2").replace(run, other)) is None


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
    # a remark
    scale = 2
    size: int

    def __init__(self):
        self.size = self.scale

    @property
    def area(self):
        """Two lines,
both of them."""
        return math.pi

    @area.setter
    def area(self, value):
        self.size = value

    def forward(self, x):
        return x
'''


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        pytest.param(
            "class Gate(Base):\n    def forward(self, x):\n        return 2 * x\n",
            CLASS.replace("return x", "return 2 * x"),
            id="a method",
        ),
        pytest.param(
            "class Gate(Base):\n  def forward(self, x):\n    return 2 * x\n",
            CLASS.replace("    return x", "  return 2 * x"),
            id="moved to the right",
        ),
        pytest.param(
            'class Gate(Other):\n    """A gate."""\n\n    scale = 3\n    size: int\n',
            CLASS.replace("(Base):", '(Other):\n    """A gate."""').replace(
                "scale = 2", "scale = 3"
            ),
            id="fields",
        ),
        pytest.param(
            "class Gate(Base):\n    def back(self): ...\n\n    def forward(self, x): ...\n",
            CLASS.replace(
                "def forward(self, x):\n        return x",
                "def back(self): ...\n\n    def forward(self, x): ...",
            ),
            id="a new method",
        ),
        pytest.param(
            "class Gate(Base):\n    @property\n    def area(self):\n        return 1\n",
            CLASS.replace('"""Two lines,\nboth of them."""\n        return math.pi', "return 1"),
            id="half of a property",
        ),
    ],
)
def test_of_a_class_what_was_not_sent_stays(part: str, expected: str) -> None:
    mended = spliced(CLASS, part)

    assert mended == expected
    compile(mended, "mended.py", "exec")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("    b: int\n\n    def norm(self):\n        return self.b\n", id="fields"),
        pytest.param("    def other(self):\n        return 1\n", id="methods"),
    ],
)
def test_a_class_that_has_all_it_needs_is_the_class_anew(body: str) -> None:
    whole = "@data\nclass Point:\n    a: int\n\n    def norm(self):\n        return self.a\n"
    part = f"@data\nclass Point:\n{body}"

    assert spliced(f"{whole}\n\ndef last(): ...\n", part) == f"{part}\n\ndef last(): ...\n"


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


@given(st.text(max_size=80), st.text(max_size=80))
def test_no_text_breaks_it(whole: str, part: str) -> None:
    mended = spliced(whole, part)
    assert mended is None or isinstance(mended, str)


def test_an_import_below_what_is_replaced_does_not_lead_into_it() -> None:
    whole = "def first():\n    return 1\n\n\nimport json\n\n\ndef last():\n    return json\n"
    part = (
        "import os\ndef first():\n    size = os.sep\n" + "    size += ''\n" * 5 + "    return size"
    )

    mended = spliced(whole, part)

    names = imported(mended or "")
    assert names["first"]() == "/"  # type: ignore[operator]
    assert "last" in names


@pytest.mark.parametrize("odd", ["\f", "\u2028", "\x85"])
def test_lines_are_those_that_the_parser_counts(odd: str) -> None:
    whole = f"TEXT = 'a{odd}b'\n\n\ndef first():\n    return 1\n"

    assert spliced(whole, "def first():\n    return TEXT\n") == whole.replace("1", "TEXT")


@pytest.mark.parametrize(
    ("whole", "part"),
    [
        pytest.param(
            "class Base: ...\n\n\ndef g(): ...\n",
            "class Base:\n    x = 2\n\n\nclass Child(Base): ...\n\n\nclass Last(Child): ...\n",
            id="a base",
        ),
        pytest.param(
            "def mark(f):\n    return name(f)\n\n\ndef name(f):\n    return f\n",
            "def mark(f):\n    return name(f)\n\n\n@mark\ndef new(): ...\n",
            id="a decorator, which calls what stands below it",
        ),
        pytest.param(
            "def mean(v):\n    return sum(v)\n\n\ndef g(): ...\n",
            "def mean(v):\n    return 1\n\n\nvalues = [1, 2]\nresult = mean(values)\n",
            id="a function",
        ),
        pytest.param(
            "LIMIT = 3\n\n\ndef a(): ...\n",
            "LIMIT = 5\n\n\ndef b(n=LIMIT): ...\n",
            id="a constant",
        ),
        pytest.param(
            "LIMIT = 3\n\n\ndef a(): ...\n\n\ndef g(): ...\n",
            "BASE = 2\nLIMIT = BASE + 1\n\n\ndef a(): ...\n",
            id="a constant needs what is new",
        ),
        pytest.param(
            "class Base: ...\n\n\nclass Child(Base): ...\n\n\ndef g(): ...\n",
            "class Base: ...\n\n\nclass Mixin(Base): ...\n\n\nclass Child(Mixin): ...\n",
            id="between two",
        ),
        pytest.param(
            "import dataclasses\n\n\n@dataclasses.dataclass\nclass Point:\n    a: int\n\n"
            "    def norm(self): ...\n",
            "@dataclasses.dataclass\nclass Point:\n    a: int\n    b: int = 0\n",
            id="a field behind those without a default",
        ),
    ],
)
def test_a_file_can_be_imported_after_something_was_added(whole: str, part: str) -> None:
    assert imported(whole)

    mended = spliced(whole, part)

    assert mended is not None
    assert imported(mended).keys() >= top_level_names(whole) | top_level_names(part)


def test_constants_come_along_however_they_are_set() -> None:
    whole = "LIMIT: int = 3\nX = Y = 1\nA, B = 1, 2\n\n\ndef f():\n    return 1\n\n\ndef g(): ...\n"
    part = "LIMIT: int = 5\nNEW: int = 1\nX = Y = 2\nA = 7\n\n\ndef f():\n    return 2\n"

    mended = spliced(whole, part)

    assert mended is not None
    names = imported(mended)
    assert [names[name] for name in ("LIMIT", "NEW", "X", "Y", "A", "B")] == [5, 1, 2, 2, 7, 2]
    assert mended.startswith("LIMIT: int = 5\nX = Y = 2\nA, B = 1, 2\n")


def test_what_is_added_stands_behind_an_import_at_the_end() -> None:
    whole = "def f():\n    return json\n\n\nimport json\n"
    part = "import os\n\n\ndef g():\n    return os.sep\n"

    assert spliced(whole, part, adding=True) == f"{whole}{part}"


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_lines_may_end_as_on_other_systems(end: str) -> None:
    mended = spliced(WHOLE.replace("\n", end), "def last():\n    return 5\n")

    assert mended == WHOLE.replace("return 4", "return 5")


def test_what_is_added_stands_behind_a_loop_that_it_reads() -> None:
    whole = "def f(): ...\n\n\nfor number in (1, 2):\n    f()\n"

    mended = spliced(whole, "last = number\n\n\ndef g(): ...\n", adding=True)

    assert imported(mended or "")["last"] == 2


@pytest.mark.skipif(sys.version_info < (3, 12), reason="`type` is a statement of Python 3.12")
def test_a_type_takes_the_place_of_its_old_self() -> None:
    whole = f"type Size = int\n\n\n{WHOLE}"

    assert spliced(whole, "type Size = float\n") == whole.replace("int", "float", 1)
