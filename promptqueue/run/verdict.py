"""What a step's files are worth: the verdict on its requirements, as far as a run needs it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Fault:
    """One cause, and all that it keeps from being met."""

    requirements: tuple[str, ...]
    """Ids; none for a fault that no requirement speaks of, such as an undefined name."""
    asked: tuple[str, ...]
    """What the prompt says of each of them; nothing where an error kept it from being measured."""
    seen: str
    """What was found instead."""
    at: str = ""
    """File and line, as far as they are known."""

    @property
    def path(self) -> str:
        """Return the file, as far as it is known."""
        return self.at.partition(":")[0]

    @property
    def line(self) -> int:
        """Return the line of it, from 1; 0 where none is known."""
        number = self.at.partition(":")[2]
        return int(number) if number.isdigit() else 0

    @property
    def measured(self) -> bool:
        """Tell whether what was asked was measured; else it is an error that was found."""
        return bool(self.asked)

    @property
    def clear(self) -> bool:
        """Tell whether it says what to mend: an error with its line, or what a check insists on."""
        return not self.measured and (self.line > 0 or self.seen.startswith("AssertionError: "))

    def told(self) -> str:
        """Return the fault in one line."""
        names = f"{', '.join(self.requirements)}: " if self.requirements else ""
        return f"{names}{self.seen}{f'; {self.at}' if self.at else ''}"


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on one version of a step's files."""

    met: tuple[str, ...]
    """Ids of the requirements that are met, in the queue's order."""
    unmet: tuple[str, ...]
    """Ids of the others that were judged."""
    faults: tuple[Fault, ...]
    """Why; of hidden checks it says nothing."""
    seed: int
    """Of the fresh inputs."""
    contract: str
    """Digest of the checks that it was judged by."""
    hidden: tuple[int, int] = (0, 0)
    """Hidden checks that passed, and how many there are."""
    visible: tuple[int, int] = (0, 0)
    """The same of those whose findings are told to the model."""

    @property
    def score(self) -> tuple[int, int]:
        """Return what versions are compared by: requirements met, then how few causes are left."""
        return len(self.met), -len(self.faults)

    @property
    def loose(self) -> tuple[Fault, ...]:
        """Return the faults that no requirement speaks of."""
        return tuple(fault for fault in self.faults if not fault.requirements)

    @property
    def green(self) -> bool:
        """Tell whether nothing is left to mend."""
        return not self.unmet and not self.faults

    def record(self) -> dict[str, Any]:
        """Return the verdict as the journal keeps it."""
        return asdict(self)


def judgement_from(record: Mapping[str, Any]) -> Judgement:
    """Return the verdict that `Judgement.record` described."""
    faults = tuple(
        Fault(tuple(each["requirements"]), tuple(each["asked"]), each["seen"], each["at"])
        for each in record["faults"]
    )
    lists = {name: tuple(record[name]) for name in ("met", "unmet", "hidden", "visible")}
    return Judgement(**lists, faults=faults, seed=record["seed"], contract=record["contract"])


def grouped(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """Return faults with those of one cause told together, in the order of their first."""
    causes: dict[tuple[str, str, bool], list[Fault]] = {}
    for fault in faults:
        causes.setdefault((fault.seen, fault.at, fault.measured), []).append(fault)
    return tuple(
        replace(
            same[0],
            requirements=tuple(name for fault in same for name in fault.requirements),
            asked=tuple(text for fault in same for text in fault.asked),
        )
        for same in causes.values()
    )
