"""`python -m tests.benchmarks [GROUP …] [--strict]`: measure, and show the bounds beside it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping

from tests.benchmarks import (
    conversation,
    embedded,
    journal,
    lunar,
    lunar_memory,
    lunar_peers,
    many,
    past,
    ray_nodes,
    refinement,
    sandbox,
    split,
    start_up,
    stream,
    verdict,
)
from tests.benchmarks.measure import Neighbours
from tests.benchmarks.report import Figure, neighbours_line, setting, table

_GROUPS: Mapping[str, Callable[[], Iterable[Figure]]] = {
    "start-up": start_up.figures,
    "conversation": conversation.figures,
    "stream": stream.figures,
    "journal": journal.figures,
    "past": past.figures,
    "many": many.figures,
    "many-peers": many.peer_figures,
    "ray": ray_nodes.figures,
    "refinement": refinement.figures,
    "sandbox": sandbox.figures,
    "split": split.figures,
    "lunar": lunar.figures,
    "lunar-memory": lunar_memory.figures,
    "lunar-peers": lunar_peers.figures,
    "embedded": embedded.figures,
    "verdict": verdict.figures,
}
_SLOW = frozenset(
    {
        *("embedded", "lunar", "lunar-memory", "lunar-peers", "many", "many-peers", "ray"),
        *("split", "verdict"),
    }
)
"""Only when named: minutes on two cores that nothing else may use, or torch."""


def main() -> int:
    """Measure the chosen groups and return the exit code."""
    options = _parse_options()
    print(setting())
    taken: list[Figure] = []
    for group in options.groups or [name for name in _GROUPS if name not in _SLOW]:
        neighbours = Neighbours()
        found = list(_GROUPS[group]())
        print(f"\n{neighbours_line(group, neighbours.cores())}\n\n{table(found)}", flush=True)
        taken += found
    over = [figure.name for figure in taken if figure.over]
    print(f"\n{len(over)} over: {'; '.join(over)}" if over else "\nall within their bounds")
    return 1 if over and options.strict else 0


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "groups",
        nargs="*",
        metavar="GROUP",
        type=_group,
        help=f"of {', '.join(_GROUPS)}; without one, all but {', '.join(_SLOW)}",
    )
    parser.add_argument("--strict", action="store_true", help="exit 1 when a bound is passed")
    return parser.parse_args()


def _group(name: str) -> str:
    if name not in _GROUPS:
        raise argparse.ArgumentTypeError(f"there is no group {name}; there is {', '.join(_GROUPS)}")
    return name


if __name__ == "__main__":
    sys.exit(main())
