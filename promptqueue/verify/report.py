"""What a verification found, as data; who shows it, and how, is the business of reports/."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from promptqueue.verify.sandbox import Isolation

Gate = Literal[
    "files", "parse", "outputs", "placeholders", "ruff", "import", "contract", "pipeline"
]
GATES: tuple[Gate, ...] = (
    *("files", "parse", "outputs", "placeholders", "ruff", "import", "contract", "pipeline"),
)
"""In the order of their cost."""
NOT_ASKED = "not asked for"
"""Evidence of a requirement that the reader left out."""
Grade = Literal["outcome", "static", "introspected"]
Verdict = Literal["met", "not met", "error", "not verified"]
CheckOutcome = Literal["passed", "failed", "error", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a gate found wrong."""

    gate: Gate
    message: str
    path: str = ""
    """File of the generated code, relative to its folder."""
    line: int = 0
    """From 1; 0 where no line is meant."""
    rule: str = ""
    severity: Literal["error", "warning"] = "error"
    """A warning turns nothing red."""

    @property
    def at(self) -> str:
        """Return file and line, as far as they are known."""
        return f"{self.path}:{self.line}" if self.line else self.path


@dataclass(frozen=True, slots=True)
class Check:
    """One test of the contract."""

    name: str
    requirements: tuple[str, ...]
    grade: Grade
    outcome: CheckOutcome
    evidence: str = ""
    """What was seen, in one line."""
    at: str = ""
    """File and line of the generated code, where known."""
    gate: Gate = "contract"
    detail: str = ""
    """All that pytest said of a failure."""
    reached: tuple[str, ...] = ()
    """Files with the lines of their functions that it ran, as `a.py:3-7,9`: a hint."""
    unanswered: bool = False
    """The code gave no usable answer, so that nothing could be measured."""
    hidden: bool = False
    """A model is never told of it: what it finds is no help to write code for the check."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One bullet of a prompt, and whether the code meets it."""

    id: str
    step: str
    text: str
    place: str
    """File and line of the queue file."""
    verdict: Verdict
    grades: tuple[Grade, ...] = ()
    checks: tuple[str, ...] = ()
    evidence: str = ""
    at: str = ""
    unanswered: bool = False
    """The evidence is why the code gave no usable answer; what was asked for was not measured."""
    hidden: bool = False
    """Only checks that are hidden from the model speak against it."""
    sentence: str = ""
    """What the prompt says of it."""
    sentence_at: str = ""
    """File and line of the template."""


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict on one folder of generated code."""

    queue: str
    queue_file: str
    queue_digest: str
    folder: str
    seed: int
    files: Mapping[str, str]
    """Path to SHA-256, of every file that was judged."""
    gates: Mapping[Gate, str]
    """Gate to `passed`, `failed`, or why it was not run."""
    findings: tuple[Finding, ...] = ()
    requirements: tuple[Requirement, ...] = ()
    checks: tuple[Check, ...] = ()
    isolation: Isolation | None = None
    """None where nothing was run."""
    tampered: tuple[str, ...] = ()
    """Functions of other libraries that the code replaced: a warning light, not a proof."""
    versions: Mapping[str, str] = field(default_factory=dict)
    in_part: bool = False
    """Somebody named requirements, and only these were to be judged."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """Values of the queue's inputs that the prompts were made with."""

    @property
    def green(self) -> bool:
        """Tell whether every gate passed and every requirement is met."""
        return all(state == "passed" for state in self.gates.values()) and all(
            requirement.verdict == "met" for requirement in self.requirements
        )

    @property
    def asked(self) -> tuple[Requirement, ...]:
        """Return the requirements that were to be judged: all, or those that somebody named."""
        return tuple(each for each in self.requirements if each.evidence != NOT_ASKED)

    @property
    def passed(self) -> bool:
        """Tell whether it is green, or was judged in part and all of that part is met."""
        met = bool(self.asked) and all(each.verdict == "met" for each in self.asked)
        return self.green or (self.in_part and met)

    def count(self, verdict: Verdict) -> int:
        """Return how many of the requirements that were to be judged have this verdict."""
        return sum(requirement.verdict == verdict for requirement in self.asked)
