"""Runs wrong twins through the contract: `python -m tests.lunar.sharpness`, or make sharpness.

Prints the whole matrix, twin by requirement. A dot is a requirement that is met, as it should be;
an X is the one that the twin breaks, and that is red; an ! is one that is red or green wrongly.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from promptqueue.queue.inputs import resolve_inputs
from promptqueue.queue.load import LoadedQueue, load_queue
from promptqueue.verify.contract import Selection
from promptqueue.verify.gates import verify
from promptqueue.verify.report import Report
from tests.lunar.twins import ROOT, Twin
from tests.lunar.twins_all import TWINS

QUEUE = ROOT / "prompts" / "lunar.yaml"


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge the chosen twins; end with 1 if one is not sharp."""
    options = make_parser().parse_args(arguments)
    wanted = [t for t in TWINS if not options.requirement or t.requirement in options.requirement]
    part, parts = map(int, options.part.split("/"))
    blunt = _judge_all(load_queue(QUEUE), wanted[part - 1 :: parts], options.others, options.seed)
    sys.exit(bool(blunt))


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.lunar.sharpness", description=__doc__)
    parser.add_argument("--requirement", action="append", help="only twins of it; may be repeated")
    parser.add_argument(
        "--others", type=int, help="judge each twin by so many other requirements; all by default"
    )
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="of all chance")
    parser.add_argument("--part", default="1/1", help="2/3: the second third of the twins")
    return parser


def wrong(twin: Twin, verdicts: Mapping[str, str]) -> list[str]:
    """Return the requirements whose verdict is not what the twin deserves."""
    return [
        name
        for name, verdict in verdicts.items()
        if verdict != ("not met" if name == twin.requirement else "met") and name not in twin.stops
    ]


def judged(
    twin: Twin, loaded: LoadedQueue, names: Sequence[str], seed: int
) -> tuple[dict[str, str], Report]:
    """Make a twin, judge it by these requirements, and return the verdicts and the report."""
    inputs = resolve_inputs(loaded.queue, [f"language={twin.language}"])
    with tempfile.TemporaryDirectory() as scratch:
        folder = twin.make(Path(scratch))
        selection = Selection(requirements=names, gates=("contract",))
        report = verify(loaded, folder, seed=seed, selection=selection, inputs=inputs)
    return {each.id: each.verdict for each in report.requirements if each.id in names}, report


def sample(twin: Twin, names: Sequence[str], others: int | None, seed: int) -> list[str]:
    """Return the twin's requirement and a seeded choice of others, in the queue's order."""
    rest = [name for name in names if name not in (twin.requirement, *twin.stops)]
    if others is not None:
        rest = random.Random(f"{seed} {twin.name}").sample(rest, min(others, len(rest)))
    return [name for name in names if name in (*rest, twin.requirement)]


def requirements(loaded: LoadedQueue) -> list[str]:
    """Return the ids of all requirements, in the queue's order."""
    return [name for step in loaded.queue.steps for name in step.requirements]


def _judge_all(loaded: LoadedQueue, twins: Sequence[Twin], others: int | None, seed: int) -> int:
    names = requirements(loaded)
    print(f"{len(twins)} twins by {len(names)} requirements, seed {seed}")
    print(*_head(names, max(len(twin.name) for twin in twins)), sep="\n")
    blunt = 0
    for twin in twins:
        begin = time.monotonic()
        verdicts, report = judged(twin, loaded, sample(twin, names, others, seed), seed)
        row = "".join(_sign(twin, name, verdicts.get(name)) for name in names)
        width = max(len(each.name) for each in twins)
        print(f"{twin.name:{width}} {row} {time.monotonic() - begin:4.0f} s", flush=True)
        bad = wrong(twin, verdicts)
        blunt += bool(bad)
        for each in report.requirements:
            if each.id in bad:
                print(f"    {each.id} is {each.verdict}: {each.evidence}", flush=True)
    print(f"{len(twins) - blunt} of {len(twins)} twins fail their own requirement and no other")
    return blunt


def _head(names: Sequence[str], width: int) -> Iterator[str]:
    """Yield the requirement ids, read from top to bottom."""
    height = max(map(len, names))
    for row in range(height):
        yield " " * (width + 1) + "".join(name.rjust(height)[row] for name in names)


def _sign(twin: Twin, name: str, verdict: str | None) -> str:
    if verdict is None:
        return " "
    own = name == twin.requirement
    return {(True, "not met"): "X", (False, "met"): "."}.get((own, verdict), "!")


if __name__ == "__main__":
    main()
