"""A comparison for readers and for machines: a table, JSON, CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from promptqueue.compare.estimate import Estimate
from promptqueue.compare.sample import Sample
from promptqueue.compare.statistics import LEVEL, Interval, coverage
from promptqueue.compare.summary import ArmSummary, Comparison
from promptqueue.words import counted

_LEAST = 0.0001


def estimate_lines(estimate: Estimate) -> Iterator[str]:
    """Yield what a comparison would take, and what it could show."""
    for arm in estimate.arms:
        if not arm.samples:
            yield f"  {arm.arm}: all samples are there"
            continue
        most = "no cap" if arm.reply_tokens is None else f"at most {arm.reply_tokens:,}"
        money = f", at most {arm.usd:.4f} USD" if arm.usd else ""
        yield (
            f"  {arm.arm}: {counted(arm.samples, 'sample')}, about {arm.prompt_tokens:,} tokens "
            f"of prompts and {most} of replies{money}, refinement not counted"
        )
    if estimate.unpriced:
        yield (
            "the limit usd cannot be held: no price is known of what is asked in "
            f"{', '.join(estimate.unpriced)}; name a file of prices with --prices, or limit tokens"
        )
    greedy = [arm.arm for arm in estimate.arms if arm.greedy]
    if greedy and estimate.detectable is not None:
        yield (
            f"temperature 0: samples of {', '.join(greedy)} may be copies of each other, which say "
            f"nothing of chance; ask for another, as {greedy[0]},temperature=0.7"
        )
    if estimate.detectable is None:
        yield (
            "so few samples of an arm show no difference, however large it is: their smallest p "
            f"is {_p(estimate.smallest_p)}; take {estimate.fewest} or more"
        )
        return
    origin = "assumed" if estimate.assumed else "as measured"
    yield (
        f"what can be seen: a difference of {_points(estimate.detectable)} points four times out "
        f"of five, where samples scatter by {_points(estimate.spread)} ({origin}); the smallest p "
        f"is {_p(estimate.smallest_p)}"
    )


def estimate_json(estimate: Estimate) -> str:
    """Return the same for machines; what is not a number is null."""
    return _document(asdict(estimate))


def comparison_lines(comparison: Comparison) -> Iterator[str]:
    """Yield the table: a line for each arm, and what is behind it."""
    if not comparison.arms:
        yield "no sample is there yet"
        return
    total = len(comparison.requirements)
    budget = f"best at {comparison.budget:,.0f} tokens"
    head = ("arm", "n", f"of {total} met", f"more than {comparison.base}", budget, "tokens",
            "model's time")  # fmt: skip
    rows: list[tuple[str, ...]] = [head]
    tests = sum(arm.holm is not None for arm in comparison.arms)
    rows += [_row(arm, several=tests > 1) for arm in comparison.arms]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
    if comparison.models:
        yield f"answered by {', '.join(comparison.models)}"
    yield _legend(comparison)
    if tests > 1:
        yield f"Holm: p adjusted for {tests} tests, of which one in twenty would else be below 0.05"
    for arm in comparison.arms:
        yield from _remarks(arm)
    notes = (note for arm in comparison.arms for sample in arm.samples for note in sample.notes)
    for note in dict.fromkeys(notes):
        yield f"asked in another way: {note}"
    for name, count in comparison.missing.items():
        yield f"{name}: {counted(count, 'sample')} still missing"


def comparison_json(comparison: Comparison) -> str:
    """Return everything, for machines; what is not a number is null."""
    return _document(asdict(comparison))


def comparison_csv(comparison: Comparison) -> str:
    """Return a line for each sample and requirement."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = ("prompt", "completion", "cached", "usd", "seconds", "calls")
    ends = ("length", "degenerate", "continued")
    writer.writerow(["arm", "sample", "requirement", "met", "verdict", "run", "stopped", *names,
                     *ends])  # fmt: skip
    for arm in comparison.arms:
        for sample in arm.samples:
            spent = [getattr(sample.spending, name) for name in names]
            spent += [sample.spending.endings.get(name, 0) for name in ends]
            for name in comparison.requirements:
                told = [name, int(name in sample.met), _verdict(sample, name)]
                told += [sample.run, sample.stopped]
                writer.writerow([arm.arm, sample.number, *told, *spent])
    return out.getvalue()


def _verdict(sample: Sample, requirement: str) -> str:
    """Return the verdict in the words of `verify`."""
    if requirement in sample.errors:
        return "error"
    if requirement in sample.unjudged:
        return "not verified"
    return "met" if requirement in sample.met else "not met"


def _row(arm: ArmSummary, *, several: bool) -> tuple[str, ...]:
    less = "≥ " if arm.budget_samples > len(arm.samples) else ""
    return (
        arm.arm,
        str(len(arm.samples)),
        _share(arm.met, alike=1 < len(arm.samples) == arm.distinct),
        _against(arm, several=several),
        f"{less}{arm.at_budget:.0%}",
        f"{arm.tokens:,.0f}",
        f"{int(arm.seconds // 60)}:{int(arm.seconds % 60):02}",
    )


def _legend(comparison: Comparison) -> str:
    least = min((len(arm.samples) for arm in comparison.arms if len(arm.samples) > 1), default=0)
    if not least:
        return "one sample has no interval and no p"
    held = f"about {LEVEL:.0%}" if coverage(least) >= LEVEL else f"at most {coverage(least):.0%}"
    few = "" if coverage(least) >= LEVEL else f", with {least} samples"
    return (
        f"[ ] cluster bootstrap: {held} of such intervals hold the true value{few}; none where all "
        "samples are alike; p by permutation"
    )


def _remarks(arm: ArmSummary) -> Iterator[str]:
    """Yield what the table has no room for."""
    errors = sum(len(sample.errors) for sample in arm.samples)
    unjudged = sum(len(sample.unjudged) for sample in arm.samples)
    odd = {
        "replies cut off": arm.endings.get("length", 0),
        "replies that repeated themselves": arm.endings.get("degenerate", 0),
        "continuations of replies that were cut off": arm.endings.get("continued", 0),
        "samples without all files": arm.incomplete,
        "samples that ended early, counted as they stand": arm.stopped,
        "verdicts that are errors of checks, counted as not met": errors,
        "requirements that no check looked at, counted as not met": unjudged,
        "samples that meet everything": arm.whole,
    }
    told = [f"{what} ({count})" for what, count in odd.items() if count]
    if arm.distinct < len(arm.samples):
        differ = f"only {arm.distinct} of {len(arm.samples)} samples differ in their replies"
        told.insert(0, f"{differ}, so no interval and no p")
    most = max(arm.pass_at)
    if most > 1:
        told.append(f"{arm.pass_at[most]:.0%} are met by one of {most} at least")
    if arm.usd:
        told.append(f"{arm.usd:.4f} USD a sample")
    if told:
        yield f"  {arm.arm}: {', '.join(told)}"


def _share(interval: Interval, *, alike: bool) -> str:
    """Write a share; several samples without an interval are all alike."""
    if math.isnan(interval.low):
        return f"{interval.value:.0%}" + (" (all alike)" if alike else "")
    return f"{interval.value:.0%} [{interval.low:.0%}, {interval.high:.0%}]"


def _against(arm: ArmSummary, *, several: bool) -> str:
    if arm.than_base is None:
        return ""
    told = _signed(arm.than_base.interval)
    if arm.holm is not None:
        told += f", p {_p(arm.than_base.p)}" + (f" (Holm {_p(arm.holm)})" if several else "")
    return told


def _signed(interval: Interval) -> str:
    if math.isnan(interval.low):
        return f"{100 * interval.value:+.0f}"
    return f"{100 * interval.value:+.0f} [{100 * interval.low:+.0f}, {100 * interval.high:+.0f}]"


def _points(share: float) -> str:
    return f"{100 * share:.0f}"


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{max(value, _LEAST):.4f}"


def _document(value: Any) -> str:
    return json.dumps(_plain(value), indent=1, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
