"""What holds for every module and every part of it."""

from __future__ import annotations

import ast
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
    ]
)


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
