"""What holds for every module and every part of it."""

from __future__ import annotations

import ast
from collections import Counter
from random import Random
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from promptqueue.run.splice import spliced


class Piece(NamedTuple):
    """A statement of a module: as it is, what may be sent of it, and what then becomes of it."""

    text: str
    sent: str
    amended: str


def changed(text: str, sent: str = "") -> Piece:
    """Return a piece of which the number 1 becomes 2."""
    return Piece(text, (sent or text).replace("1", "2"), text.replace("1", "2"))


def kept(text: str) -> Piece:
    return Piece(text, "", text)


OVERLOADS = "@overload\ndef {0}(x: int): return 1\n\n@overload\ndef {0}(x: str): ...\n\n"
CLASS = "class {0}:\n    size: int = 0\n\n    def stay(self): ...\n\n    def go(self): return 1\n"
UNITS = st.sampled_from(
    [
        kept("def {0}(): ...\n"),
        kept("class {0}: ...\n"),
        kept("{0} = 1\n"),
        changed("def {0}():\n    return 1\n"),
        changed("@staticmethod\ndef {0}(x=1):\n    # a remark\n    return x\n"),
        changed("async def {0}(): return 1\n"),
        changed("class {0}:\n    size: int = 1\n"),
        changed(CLASS),
        changed(CLASS, "class {0}:\n    def go(self): return 1\n"),
        changed("{0} = 1\n"),
        changed("{0}: int = 1\n"),
        changed("{0} = other = [\n    1,\n]\n"),
        changed("{0}, _ = 1, 1\n"),
        changed("{0} = 0 + \\\n    1\n"),
        changed('{0} = """\n1\n  of\nthem\n"""\n'),
        changed("{0} = [{0} for {0} in range(1)]\n"),
        changed("{0} = lambda: {0}() + 1\n"),
        changed("@mark  # a remark\n# another\n@mark\ndef {0}(): return 1\n"),
        changed("\fdef {0}(): return 1\n"),
        changed("def {0}():\n    global number; number = 1\n"),
        changed("try:\n    import json as {0}\nexcept ImportError:\n    {0} = 1\n"),
        changed("if FLAG:\n    def {0}(): return 1\nelse:\n    def {0}(): ...\n"),
        changed(f"{OVERLOADS}def {{0}}(x): return 1\n"),
        changed("@mark.register\ndef _(x: {0}): return 1\n"),
        changed("{0} = 0\n{0} = {0} + 1\n", "{0} = {0} + 1\n"),
        changed("def {0}(): ...\n{0} = mark({0}, 1)\n", "{0} = mark({0}, 1)\n"),
        Piece("{0} = 1; á_{0} = 0\n", "{0} = 2\n", "{0} = 2\ná_{0} = 0\n"),
        Piece("á_{0} = 'á'; {0} = 1  # a\n", "{0} = 2  # b\n", "á_{0} = 'á'\n{0} = 2  # b\n"),
        Piece("import os; {0} = 1; print(3)\n", "{0} = 2\n", "import os\n{0} = 2\nprint(3)\n"),
        Piece("{0} = 1\ná_{0} = 1\n", "{0} = 2; á_{0} = 2\n", "{0} = 2\ná_{0} = 2\n"),
        Piece(CLASS, "class {0}: size: int = 1\n", CLASS.replace("int = 0", "int = 1")),
        Piece(
            "class {0}:\n\tdef stay(self): ...\n\n\tdef go(self):\n\t\treturn 1\n",
            "class {0}:\n    def go(self):\n        return 2\n",
            "class {0}:\n\tdef stay(self): ...\n\n\tdef go(self):\n\t    return 2\n",
        ),
        Piece(
            f"{OVERLOADS}def {{0}}(x): return 1\n",
            "def {0}(x): return 2\n",
            f"{OVERLOADS}def {{0}}(x): return 2\n",
        ),
    ]
)
OTHERS = st.sampled_from(
    [
        kept("import os\n"),
        kept("# a remark\n"),
        kept("try:\n    import json\nexcept ImportError:\n    json = None\n"),
        kept("LEFT, RIGHT = 1, 2\n"),
        kept("print('here')\n"),
        kept("TABLE = {}\nTABLE['a'] = 1\n"),
        kept("for number in range(3):\n    pass\n"),
        kept("if __name__ == '__main__':\n    print(1)\n"),
        kept("import os; import re\n"),
        kept("LOW = 1; HIGH = 2\n"),
        kept("class Limit: low = 1; high = 2\n"),
        kept("if (number := 3) > 2: pass\n"),
        kept("match FLAG:\n    case _: pass\n"),
        kept("with open('/dev/null') as file: pass\n"),
        kept("__all__ = []\n__all__ += ['mark']\n"),
    ]
)
NEW = st.sampled_from(
    [
        "def {0}(): ...\n",
        "async def {0}(): ...\n",
        "class {0}: low = 1; high = 2\n",
        "{0} = 1; á_{0} = 2\n",
        "{0}: int\n",
        "import json as {0}; import os as á_{0}\n",
        "from os import path as {0}, sep as á_{0}\n",
        "try:\n    import nowhere as {0}\nexcept ImportError:\n    {0} = None\n",
        "if FLAG:\n    def {0}(): return 1\nelse:\n    def {0}(): ...\n",
        f"{OVERLOADS}def {{0}}(x): return 1\n",
        "def {0}(): ...\n{0} = mark({0})\n",
        "def {0}(): return 1\ná_{0} = {0}()\n",
        "if FLAG:\n    import os as {0}\ná_{0} = {0}.sep\n",
        "class {0}: ...\nclass á_{0}({0}): ...\n",
    ]
)
HEAD = '''"""A module."""
from __future__ import annotations
from typing import overload

FLAG = True


def mark(f, *_):
    return f


mark.register = mark
'''


@st.composite
def modules(draw: st.DrawFn) -> list[Piece]:
    """Draw a module of which some is sent, but never each function: that is the file anew."""
    drawn = draw(st.lists(UNITS | OTHERS, max_size=8))
    functions = [changed("def {0}(): return 1\n"), kept("def {0}(): ...\n")]
    pieces = draw(st.permutations([*drawn, *functions]))
    return [
        Piece(*(text.replace("{0}", f"name_{number}") for text in piece))
        for number, piece in enumerate(pieces)
    ]


@given(modules(), st.sampled_from(["", "\n", "\n\n"]), st.randoms(use_true_random=False))
def test_what_was_sent_is_replaced_and_all_else_stays(
    pieces: list[Piece], gap: str, random: Random
) -> None:
    sent = [piece.sent for piece in pieces if piece.sent]
    random.shuffle(sent)

    mended = spliced(gap.join(piece.text for piece in pieces), gap.join(sent))

    assert mended == gap.join(piece.amended for piece in pieces)
    ast.parse(mended)


@given(
    modules(),
    st.lists(NEW, max_size=4),
    st.sampled_from(["", "\n", "\n\n"]),
    st.randoms(use_true_random=False),
)
def test_what_is_new_is_there_once_and_again_changes_nothing(
    pieces: list[Piece], new: list[str], gap: str, random: Random
) -> None:
    added = [text.replace("{0}", f"new_{number}") for number, text in enumerate(new)]
    sent = [*(piece.sent for piece in pieces if piece.sent), *added]
    random.shuffle(sent)
    part = gap.join(sent)

    mended = spliced(gap.join([HEAD, *(piece.text for piece in pieces)]), part)

    assert mended is not None
    assert statements(mended) == statements(
        "".join([HEAD, *(piece.amended for piece in pieces), *added])
    )
    exec(compile(mended, "mended.py", "exec", dont_inherit=True), {"__name__": "mended"})
    assert spliced(mended, part) == mended


def statements(text: str) -> Counter[str]:
    return Counter(ast.dump(node) for node in ast.parse(text).body)
