"""What is left to do in the conversation of a step."""

from __future__ import annotations

from dataclasses import dataclass

from promptqueue.queue.model import Refine, Step
from promptqueue.run.extract import Extraction, Issue
from promptqueue.run.job import Job
from promptqueue.run.judging import mendable
from promptqueue.run.talk import Talk
from promptqueue.run.verdict import Fault


@dataclass(frozen=True, slots=True)
class Remaining:
    """What a step still lacks, and whether it may be asked for."""

    job: Job
    talk: Talk

    @property
    def step(self) -> Step:
        """Return the step, with all files that it is to mend."""
        return self.talk.step

    @property
    def rule(self) -> Refine:
        """Return how often the step may be asked again."""
        return self.job.loaded.queue.refine_of(self.step)

    def is_open(self) -> bool:
        """Tell whether something is left to mend that the model may be told of."""
        return bool(self.talk.board.open_paths() or self.faults())

    def faults(self) -> tuple[Fault, ...]:
        """Return what keeps the best version so far from being green, and can be mended here."""
        board = self.talk.board
        if board.standing is None:
            return ()
        return mendable(self.job, self.step, board.standing.judgement.faults, board.latest())

    def issues(self, extraction: Extraction) -> tuple[Issue, ...]:
        """Return what is wrong with files that are not usable yet, the latest reply's included."""
        board = self.talk.board
        return board.open_issues(extraction) if board.open_paths() else ()

    def reasons(self, extraction: Extraction) -> tuple[str, ...]:
        """Return what is not as it should be, in one line each."""
        if self.talk.board.open_paths() or self.talk.board.standing is None:
            return tuple(issue.message for issue in self.issues(extraction))
        return tuple(fault.told() for fault in self.faults())

    def may_go_on(self) -> bool:
        """Tell whether the step may be asked once more."""
        return self.talk.refined < self.rule.turns or self.draws()

    def draws(self) -> bool:
        """Tell whether another first answer is wanted; where nothing judges, one is all.

        What is clear to mend is told at once: to draw again is for what was measured.
        """
        talk = self.talk
        judged = self.job.judged or talk.board.standing is not None
        more = not talk.refined and talk.drawn < self.rule.samples
        wanted = judged and bool(self.step.checks) and more
        faults = self.faults()
        return wanted and not (faults and all(fault.clear for fault in faults))
