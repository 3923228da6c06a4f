"""What a benchmark counts of a child, and what it refuses to count."""

from __future__ import annotations

import pytest

from tests.benchmarks.measure import PYTHON, ratio_of, run_child

MIB = 2**20


def test_the_peak_of_a_child_is_its_own_and_not_that_of_who_measures() -> None:
    held = bytearray(b"1") * (200 * MIB)
    peaks = [run_child([PYTHON, "-c", f"b'1' * {size}"]).peak_mib for size in (1, 150 * MIB)]
    assert peaks[0] < 100 < 150 < peaks[1]
    del held


def test_what_fails_is_told_and_not_measured() -> None:
    failing = [PYTHON, "-c", "import sys; print('so far'); sys.exit('no more')"]
    with pytest.raises(RuntimeError, match=r"ended with 1:\nso far\nno more"):
        run_child(failing)
    assert run_child(failing, accepted=(0, 1)).output == "so far\n"
    with pytest.raises(RuntimeError, match="ended with -15"):
        run_child([PYTHON, "-c", "import os; os.kill(os.getpid(), 15)"])
    with pytest.raises(RuntimeError, match=r"(?s)ended with no process:\n.*No such file"):
        run_child(["/no-such-command"])


def test_a_ratio_is_the_median_of_its_pairs() -> None:
    found = ratio_of([(1.0, 2.0), (6.0, 2.0), (2.0, 1.0)])
    assert (found.value, found.low, found.high) == (2.0, 0.5, 3.0)
    assert (found.first, found.second, found.pairs) == (2.0, 2.0, 3)
