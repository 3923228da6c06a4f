"""Judges what is right again and again: `python -m tests.lunar.repeat --times 20`.

A contract that cries wolf once in twenty times is worth little. Each time has a seed of its own.
The short training is left out, and with it the one requirement that is judged by its files.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from promptqueue.queue.inputs import resolve_inputs
from promptqueue.queue.load import load_queue
from promptqueue.verify.contract import Selection
from promptqueue.verify.gates import verify
from tests.lunar.sharpness import QUEUE, requirements
from tests.lunar.twins import REFERENCE

STYLES = Path(__file__).with_name("styles")
RIGHT = {
    "reference": (REFERENCE, "en"),
    "plain": (STYLES / "plain", "ru"),
    "functional": (STYLES / "functional", "ru"),
    "renamed": (STYLES / "renamed", "en"),
}
"""Name to folder, and the language of its comments."""
TRAINED = "entry_point"


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge each as often as asked; end with 1 if one was not green every time."""
    options = make_parser().parse_args(arguments)
    loaded, bad = load_queue(QUEUE), 0
    names = [name for name in requirements(loaded) if name != TRAINED]
    for number in range(options.times):
        for name in options.only or RIGHT:
            folder, language = RIGHT[name]
            seed, begin = random.SystemRandom().randrange(2**32), time.monotonic()
            inputs = resolve_inputs(loaded.queue, [f"language={language}"])
            selection = Selection(requirements=names, gates=("contract",))
            report = verify(loaded, folder, seed=seed, selection=selection, inputs=inputs)
            judged = [each for each in report.requirements if each.id in names]
            unmet = [each for each in judged if each.verdict != "met"]
            bad += bool(unmet)
            seconds = time.monotonic() - begin
            print(f"{number + 1}. {name}, seed {seed}: {len(unmet)} not met, {seconds:.0f} s")
            for each in unmet:
                print(f"    {each.id} {each.verdict}: {each.evidence}; {each.at}")
            sys.stdout.flush()
    sys.exit(bool(bad))


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.lunar.repeat", description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--only", action="append", choices=RIGHT, help="may be repeated")
    return parser


if __name__ == "__main__":
    main()
