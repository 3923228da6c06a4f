"""What a run would ask, where steps leave files of earlier ones as they are, or amend them."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptqueue.run.forecast import forecast
from tests.run.bench import Bench
from tests.run.test_versions import CHECKS, ONE, QUEUE, THREE, WORSE, files


def bench_of(folder: Path, queue: str) -> Bench:
    (folder / "checks.py").write_text(CHECKS, "utf-8")
    return Bench(folder, queue)


def asked(bench: Bench) -> list[str]:
    return [each.step for each in forecast(bench.plan()) if each.asked]


@pytest.mark.parametrize(
    "shown",
    [
        "context: [{step: two, as: files}]",
        "context: [{step: two, as: interface}]",
        "data: \"{{ steps.two.files['one.py'] }}\"",
        'data: "{{ steps.two.files | join }}"',
    ],
)
def test_a_step_that_left_a_file_as_it_was_answers_again(tmp_path: Path, shown: str) -> None:
    bench = bench_of(tmp_path, QUEUE + THREE.replace("context: [{step: two, as: files}]", shown))
    worse = files(one=WORSE, two="b = 2\n")
    bench.run(files(one=ONE), worse, worse, files(three="c = 3\n"))
    assert bench.text("one.py") == ONE

    assert asked(bench) == []
    bench.run()
    assert not bench.chat.asked


PARTS = """
    promptqueue: 1
    name: tiny
    defaults: {context: none, params: {seed: 1}, refine: {turns: 1}}
    steps:
      - id: one
        task: Write one.py.
        outputs: [{path: one.py}]
      - id: two
        task: Amend one.py.
        outputs: [{path: one.py, parts: true}]
    """


def test_files_stand_in_the_order_of_their_declaration(tmp_path: Path) -> None:
    two = "[{path: one.py}, {path: two.py}]"
    bench = bench_of(tmp_path, PARTS.replace("[{path: one.py, parts: true}]", two) + THREE)
    late = [files(two="b = 2\n"), files(one="a = 2\n")]
    bench.run(files(one="a = 1\n"), *late, files(three="c = 3\n"))

    assert asked(bench) == []
    bench.run()
    assert not bench.chat.asked


def test_a_step_depends_on_the_file_that_an_earlier_one_amended(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, PARTS + THREE)
    whole = "def f():\n    return 1\n\n\ndef g():\n    return 1\n"
    part = "def g():\n    return 2\n"
    bench.run(files(one=whole), files(one=part), files(three="c = 3\n"))
    bench.queue_path.write_text(
        bench.queue_path.read_text("utf-8").replace("Write one", "Make one")
    )

    assert asked(bench) == ["one", "three"]
    bench.run(files(one=whole.replace("1", "3")), files(three="c = 4\n"))
    assert bench.text("one.py") == "def f():\n    return 3\n\n\ndef g():\n    return 2\n"
    assert len(bench.chat.asked) == 2
