"""The watch must stop a stream that loops, and leave honest code alone."""

import itertools
import random
import time

import pytest

from promptqueue.chat.repetition import RepetitionWatch

IMPORT_LINE = "from torch.utils.data import DataLoader\n"  # what the embedded model looped on
TABLE = "".join(f"    ('image_{n:03}.png', {n % 5}, {n * 17 % 101}),\n" for n in range(300))
PAIR = "x = self.conv(x)\nx = self.bn(x)\n"
EIGHT = "".join(f"def step_{n}():\n" for n in range(8))
SEVEN = "".join(f"self.layer{n} = nn.Linear(64, 64)\n" for n in range(7))
PROSE = "and then we apply the convolution to the input "
BRANCH = """\
        self.b{} = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True)
        )
"""  # seen from the embedded model, from b2 to b381


def feed(text, size=7):
    """Feed in pieces and return the watch and how many characters it took to fire (or None)."""
    watch = RepetitionWatch()
    for start in range(0, len(text), size):
        if watch.feed(text[start : start + size]):
            return watch, start + size
    return watch, None


LOOPS = {
    "one import line": ("import torch\n\n", IMPORT_LINE, 40),
    "a pair of lines": ("# model\n", PAIR, 30),
    "seven lines": ("# model\n", SEVEN, 12),
    "eight lines": ("x = 1\n", EIGHT, 12),
    "a line and a blank one": ("# start\n", "pass\n\n", 40),
    "a line with a ruler": ("# start\n", "Section\n=======\n", 40),
    "prose without line breaks": ("Answer: ", PROSE, 40),
    "one number for ever": ("weights = [", "0.1, ", 400),
    "Cyrillic": ("Ответ: ", "и снова то же самое, ", 90),
    "CRLF": ("x\r\n", "import os\r\n", 40),
}


@pytest.mark.parametrize("size", [1, 7, 1000, 10**6])
@pytest.mark.parametrize(("before", "copy", "copies"), LOOPS.values(), ids=LOOPS)
def test_a_loop_is_found_with_its_start_and_its_first_copy(before, copy, copies, size):
    text = before + copy * copies
    watch, fired_at = feed(text, size)
    assert fired_at is not None
    # A loop may be seen to begin a little inside `before` when both end in the same characters.
    assert len(before) - len(copy) <= watch.start <= len(before)
    first = text[watch.start : watch.first_copy_end]
    assert len(first) == len(copy)
    assert (first * (copies + 1)).startswith(text[watch.start :])


def test_the_watch_fires_long_before_the_token_limit():
    _, fired_at = feed(IMPORT_LINE * 1000, 5)
    assert fired_at <= 25 * len(IMPORT_LINE)


@pytest.mark.parametrize("size", [1, 7, 10**6])
def test_a_loop_that_counts_up_is_found_although_no_two_copies_are_equal(size):
    before = "class ASPP(nn.Module):\n"
    watch, fired_at = feed(before + "".join(BRANCH.format(n) for n in range(381)), size)
    assert fired_at is not None
    assert watch.start == len(before)
    assert watch.first_copy_end == len(before) + len(BRANCH.format(1))


def test_it_stays_fired():
    watch, _ = feed(IMPORT_LINE * 30)
    start = watch.start
    assert watch.feed("something else\n")
    assert watch.start == start


HONEST = {
    "20 equal layers": "layers = [\n" + "    nn.ReLU(),\n" * 20 + "]\n",
    "23 equal lines": IMPORT_LINE * 23,
    "11 equal pairs": PAIR * 11,
    "three times eight lines": EIGHT * 3 + "end\n",
    "seven cycles of eight lines": EIGHT * 7,
    "a matrix of equal rows": "[\n" + "    [0, 0, 0, 0, 0, 0, 0, 0],\n" * 20 + "]\n",
    "a long table": TABLE,
    "a ruler": "=" * 5000 + "\n",
    "a ruler of two characters": "-+" * 3000,
    "many rulers": ("=" * 60 + "\n") * 200,
    "blank lines": "\n" * 500,
    "closing brackets": "    }\n" * 200,
    "an indent without end": " " * 5000,
    "a long line of prose": " ".join(f"word{n}" for n in range(2000)),
    "zeros": "zeros = [" + "0, " * 300 + "]\n",
    "every other line differs": "".join(f"x{n} = 1\ny = 2\n" for n in range(100)),
    "twenty branches": "".join(BRANCH.format(n) for n in range(20)),
    "a table of four lines a row": "".join(
        f"  (\n    {n},\n    {n * 7 % 5},\n    {n % 3},\n  ),\n" for n in range(20)
    ),
    "noise": "".join(random.Random(1).choices("abcd \n", k=20000)),
}


@pytest.mark.parametrize("size", [1, 13, 10**6])
@pytest.mark.parametrize("text", HONEST.values(), ids=HONEST)
def test_honest_text_is_left_alone(text, size):
    watch, fired_at = feed(text, size)
    assert fired_at is None
    assert (watch.start, watch.first_copy_end) == (0, 0)


def test_this_package_is_left_alone():
    """Real code, read from the package itself."""
    from pathlib import Path

    import promptqueue

    for path in Path(promptqueue.__file__).parent.rglob("*.py"):
        _, fired_at = feed(path.read_text("utf-8"), 64)
        assert fired_at is None, path


@pytest.mark.parametrize(("copy", "copies"), [(IMPORT_LINE, 40), (PAIR, 20)], ids=["line", "pair"])
def test_a_loop_after_honest_code_starts_there_in_pieces_of_any_size(copy, copies):
    watches = [feed(TABLE + copy * copies, size)[0] for size in range(1, 40)]
    assert {(watch.start, watch.first_copy_end) for watch in watches} == {
        (len(TABLE), len(TABLE) + len(copy))
    }


def test_the_pieces_are_read_in_linear_time():
    """Guards against a watch that reads the whole text again with every piece."""
    short, long = (min(_seconds_for(count) for _ in range(3)) for count in (10_000, 40_000))
    assert long < 10 * short  # 4 times if linear, 16 if not


def _seconds_for(count: int) -> float:
    pieces = list(itertools.islice(itertools.cycle(["x = compute(", "a, b", ")\n"]), 3))
    started, watch = time.process_time(), RepetitionWatch()
    for n in range(count):
        watch.feed(pieces[n % 3] + (f"  # {n}" if n % 3 == 0 else ""))
    return time.process_time() - started
