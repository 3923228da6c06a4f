"""What the next turn of a step says, and which version of each file is the best so far."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from promptqueue.queue.model import Output, Turn
from promptqueue.run.ending import files_wanted
from promptqueue.run.extract import Extraction, Issue, IssueKind
from promptqueue.run.units import unit_at
from promptqueue.run.verdict import Fault, Judgement
from promptqueue.verify.lint import parse_problem

_CLEAN = 3
_RANK = {IssueKind.SHRUNK: 2, IssueKind.LAZY: 1, IssueKind.SYMBOLS: 1}
"""How much of a file with such an issue is worth; with any other issue it is worth nothing."""
_NO_TURN = -1
"""Of a version that an earlier step brought."""
_AT_LINE = re.compile(r"line (\d+): (.*)", re.DOTALL)
_STALE_TURNS = 2
"""After so many turns without gain a fresh start does better than arguing on (arXiv 2506.18403:
most models lose 60 to 80 % of their debugging power within two or three attempts)."""


@dataclass(frozen=True, slots=True)
class Version:
    """One text of a file, and what is wrong with it."""

    text: str
    issues: tuple[Issue, ...]
    turn: int = field(compare=False)
    """Whose reply brought it."""

    @property
    def rank(self) -> int:
        """Return how usable the file is, from 0 (does not parse) to 3 (nothing is wrong)."""
        return min((_RANK.get(issue.kind, 0) for issue in self.issues), default=_CLEAN)


@dataclass(frozen=True, slots=True)
class Standing:
    """The best files of a step that were judged, all of one moment."""

    versions: Mapping[str, Version]
    judgement: Judgement
    turns: tuple[Turn, ...]
    """That led to them."""


@dataclass(slots=True)
class Board:
    """The best version of every file of a step, over its turns."""

    outputs: Sequence[Output]
    earlier: Mapping[str, str]
    """Texts that earlier steps left behind: they stand until something usable replaces them."""
    met_before: int = 0
    """How many requirements those texts meet: a version that meets fewer does not replace them."""
    judged: bool = False
    """Somebody judges: until that is done, no version replaces what meets a requirement."""
    best: dict[str, Version] = field(default_factory=dict)
    standing: Standing | None = None
    """None until the files were judged."""
    stale: int = 0
    """Answers in a row to what was found that brought no gain."""
    awaited: set[str] = field(default_factory=set)
    """Files that the user wants changed, until a reply brings one of them."""
    _reopened: set[str] = field(default_factory=set)
    """Files whose best version any usable one may replace."""
    _seen: set[str] = field(default_factory=set)

    def take(self, extraction: Extraction, turn: int) -> list[str]:
        """Take over every file that is at least as good as what was there; return their paths."""
        taken, gain = [], False
        for path, module in extraction.modules.items():
            version = Version(module.text, _fatal(extraction.issues, path), turn)
            known = self.best.get(path)
            gain |= known is None or version.rank > known.rank
            wanted = path in self._reopened and version.rank > 1
            if known is None or version.rank >= known.rank or wanted:
                self.best[path] = version
                taken.append(path)
                self._reopened.discard(path)
        if taken:
            self.awaited.clear()
        self.stale = 0 if gain else self.stale + 1
        return taken

    def weigh(self, judgement: Judgement, turns: Iterable[Turn]) -> bool:
        """Keep the files if they are new and no worse than the best, else go back to that.

        Args:
            judgement: on the files as they stand.
            turns: that led to them.

        Returns:
            Whether they are the best so far.
        """
        known = self.standing
        if known is not None and (
            self.best == known.versions or judgement.score < known.judgement.score
        ):
            if self.best == known.versions:
                self.stale = _STALE_TURNS  # told what was wrong, it said the same again
            self.best = dict(known.versions)
            return False
        if known is None or judgement.score > known.judgement.score:
            self.stale = 0
        self.standing = Standing(dict(self.best), judgement, tuple(turns))
        return True

    @property
    def regressed(self) -> bool:
        """Tell whether the best of this step is worse than what earlier steps left behind.

        What is still to be judged is not known to meet anything.
        """
        if self.standing is None:
            return self.judged and self.met_before > 0
        return len(self.standing.judgement.met) < self.met_before

    def take_over(self, path: str, text: str, known: Mapping[str, bool], met_before: int) -> None:
        """Add a file that an earlier step left behind: it stands until something better comes.

        Args:
            path: of the file.
            text: of the file.
            known: requirement of this step's files and of that to whether it is met, in the
                queue's order.
            met_before: how many were, before this step.
        """
        self.earlier, self.met_before = {**self.earlier, path: text}, met_before
        self.best[path] = Version(text, (), turn=_NO_TURN)  # or one that is not usable would stand
        if self.standing is not None:
            met = tuple(name for name, is_met in known.items() if is_met)
            unmet = tuple(name for name, is_met in known.items() if not is_met)
            judgement = replace(self.standing.judgement, met=met, unmet=unmet)
            versions = {**self.standing.versions, path: self.best[path]}
            self.standing = replace(self.standing, versions=versions, judgement=judgement)

    def reopen(self) -> None:
        """Let the next usable version of a file replace what was the best so far."""
        self.standing = None
        self._reopened = set(self.best)
        self.awaited = {output.path for output in self.outputs}

    def latest(self) -> dict[str, str]:
        """Return the best text of every file of this step, also where the earlier one is better."""
        return {**self.earlier, **{path: v.text for path, v in self.best.items()}}

    def writable(self, path: str) -> bool:
        """Tell whether the best version may go to disk: an earlier usable file is not lost."""
        if path not in self.best or (path in self.earlier and self.regressed):
            return False
        return path not in self.earlier or self.best[path].rank > 1

    def open_paths(self, *, least: int = _CLEAN) -> list[str]:
        """Return the declared files that are missing or not as good as `least`."""
        paths = [output.path for output in self.outputs]
        return [
            path
            for path in paths
            if path in self.awaited or path not in self.best or self.best[path].rank < least
        ]

    def complete(self) -> bool:
        """Tell whether every declared file is usable (one that shrank is, with a warning)."""
        return not self.open_paths(least=2)

    def open_issues(self, latest: Extraction) -> tuple[Issue, ...]:
        """Return what the next turn has to mend."""
        open_paths = set(self.open_paths())
        wanted = [i for i in latest.issues if i.path in open_paths or i.path is None]
        known = {issue.path for issue in wanted}
        old = [i for p in open_paths - known if p in self.best for i in self.best[p].issues]
        return tuple(wanted + sorted(old, key=lambda issue: str(issue.path)))

    def torn(self) -> tuple[Fault, ...]:
        """Return the syntax errors that keep files open, where to mend a definition will do."""
        faults = []
        for path in self.open_paths():
            version = self.best.get(path)
            fault = _syntax_fault(path, version.text) if version else None
            kinds = {issue.kind for issue in version.issues} if version else set()
            if path in self.awaited or fault is None or kinds != {IssueKind.SYNTAX}:
                return ()
            faults.append(fault)
        return tuple(faults)

    def starts_afresh(self, reply: str, *, told: bool) -> bool:
        """Tell whether the conversation leads nowhere: no gain, or the same reply again.

        Args:
            reply: the latest.
            told: it answers what was found; before that there is no conversation.
        """
        repeated = reply in self._seen
        self._seen.add(reply)
        if not told:
            self.stale = 0
        return told and (repeated or self.stale >= _STALE_TURNS)


def refinement_prompt(issues: Iterable[Issue], outputs: Iterable[Output], prompt: str) -> str:
    """Return what the model is told: what cannot be used, and what to send instead.

    The same findings give the same bytes: no times, no absolute paths.

    Args:
        issues: what is wrong with a reply.
        outputs: the files that are to come.
        prompt: of the step.
    """
    outputs = list(outputs)
    parts = " and ".join(output.path for output in outputs if output.parts)
    but = f"; of {parts} only each function that changes" if parts else ""
    lines = ["Your reply cannot be used as it is:", ""]
    lines += dict.fromkeys(f"- {_subject(issue)}{issue.message}" for issue in issues)
    lines += ["", f"Send again, whole and corrected, each in a fence of its own{but}:", ""]
    return "\n".join([*lines, *files_wanted(outputs, prompt, {})]) + "\n"


def change_prompt(text: str, outputs: Iterable[Output], prompt: str) -> str:
    """Return what the model is told when the user wants something else.

    The same words give the same bytes.

    Args:
        text: what the user wants.
        outputs: the files of the step.
        prompt: of the step.
    """
    lines = [text.strip(), "", "Keep everything else as it is. Send each file that changes, whole:"]
    return "\n".join([*lines, "", *files_wanted(outputs, prompt, {})]) + "\n"


def _syntax_fault(path: str, text: str) -> Fault | None:
    """Return a syntax error of a file, if it lies in a definition that can be sent alone."""
    found = _AT_LINE.match(parse_problem(path, text) or "")
    if found is None or unit_at(text, int(found[1])) is None:
        return None
    return Fault((), (), f"SyntaxError: {found[2]}", f"{path}:{found[1]}")


def _subject(issue: Issue) -> str:
    return f"{issue.path}: " if issue.path and issue.path not in issue.message else ""


def _fatal(issues: Iterable[Issue], path: str) -> tuple[Issue, ...]:
    return tuple(issue for issue in issues if issue.path == path and issue.fatal)
