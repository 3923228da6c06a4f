"""What the samples of all arms come to: shares, differences, and what they cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from promptqueue.compare.sample import Sample
from promptqueue.compare.statistics import (
    Difference,
    Interval,
    best_of,
    difference,
    holm,
    mean_interval,
    pass_at_k,
)

_KS = (1, 2, 3, 5, 10, 20, 50, 100)


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """What the samples of one arm come to; means are over samples."""

    arm: str
    samples: tuple[Sample, ...]
    met: Interval
    """Share of the requirements that a sample meets."""
    than_base: Difference | None
    """None for the base itself."""
    pass_at: Mapping[int, float]
    """k to the chance that a requirement is met by one of k samples, averaged over them."""
    whole: int
    """Samples that meet every requirement."""
    at_budget: float
    """Share that the best of as many samples meets as the budget pays for."""
    budget_samples: float
    """How many those are; more than there are samples means that the share is a lower bound."""
    by_requirement: Mapping[str, float]
    """Requirement to the share of samples that meet it."""
    tokens: float
    prompt_tokens: float
    cached_tokens: float
    completion_tokens: float
    seconds: float
    """Time that the model took."""
    calls: float
    usd: float | None
    endings: Mapping[str, int]
    """Ends of replies, over all samples."""
    incomplete: int
    """Samples that did not bring every declared file."""
    stopped: int
    """Samples that ended early: by a limit, or by what was asked."""
    distinct: int
    """Samples whose replies no other one has; where there are fewer of them than samples, nothing
    is said of chance."""
    holm: float | None = None
    """p of the difference, adjusted for all tests of the comparison; None where there is no p."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The whole of it."""

    queue: str
    requirements: tuple[str, ...]
    base: str
    budget: float
    """Tokens that every arm may spend where they are compared at equal cost: what a sample of the
    dearest arm takes."""
    arms: tuple[ArmSummary, ...]
    missing: Mapping[str, int] = field(default_factory=dict)
    """Arm to samples that are still to be taken."""

    @property
    def models(self) -> tuple[str, ...]:
        """Return who was asked, each once: what they are decides more than any arm."""
        samples = (sample for arm in self.arms for sample in arm.samples)
        return tuple(dict.fromkeys(name for sample in samples for name in sample.models))


def compare(
    queue: str,
    requirements: Sequence[str],
    samples: Mapping[str, Sequence[Sample]],
    base: str,
    missing: Mapping[str, int],
) -> Comparison:
    """Summarise what there is.

    Args:
        queue: its name.
        requirements: their ids, in the order of the queue.
        samples: arm to its samples; arms without one are left out.
        base: the arm that the others are compared with.
        missing: arm to samples that are still to be taken.
    """
    known = {arm: tuple(found) for arm, found in samples.items() if found}
    costs = {arm: _mean([s.spending.tokens for s in found]) for arm, found in known.items()}
    budget = max(costs.values(), default=0.0)
    arms = [
        _summary(arm, found, requirements, () if arm == base else known.get(base, ()), budget)
        for arm, found in known.items()
    ]
    return Comparison(queue, tuple(requirements), base, budget, _adjusted(arms), missing)


def _adjusted(arms: Sequence[ArmSummary]) -> tuple[ArmSummary, ...]:
    tested = {arm.arm: arm.than_base.p for arm in arms if arm.than_base}
    tested = {arm: p for arm, p in tested.items() if not math.isnan(p)}
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))
    return tuple(replace(arm, holm=adjusted.get(arm.arm)) for arm in arms)


def _summary(
    arm: str,
    samples: tuple[Sample, ...],
    requirements: Sequence[str],
    against: tuple[Sample, ...],
    budget: float,
) -> ArmSummary:
    rates = [sample.rate for sample in samples]
    independent = _distinct(samples) == len(samples)
    spent = [sample.spending for sample in samples]
    tokens = _mean([each.tokens for each in spent])
    affordable = budget / tokens if tokens else 1.0
    counts = Counter(name for sample in samples for name in sample.met)
    known_usd = [each.usd for each in spent if each.usd is not None]
    endings: Counter[str] = Counter()
    for each in spent:
        endings.update(each.endings)
    return ArmSummary(
        arm=arm,
        samples=samples,
        met=mean_interval(rates) if independent else _bare(_mean(rates)),
        than_base=_difference(samples, against) if against else None,
        pass_at={
            k: _mean([pass_at_k(counts[name], len(samples), k) for name in requirements])
            for k in _KS
            if k <= len(samples)
        },
        whole=sum(math.isclose(rate, 1.0) for rate in rates),
        at_budget=best_of(rates, affordable),
        budget_samples=affordable,
        by_requirement={name: counts[name] / len(samples) for name in requirements},
        tokens=tokens,
        prompt_tokens=_mean([each.prompt for each in spent]),
        cached_tokens=_mean([each.cached for each in spent]),
        completion_tokens=_mean([each.completion for each in spent]),
        seconds=_mean([each.seconds for each in spent]),
        calls=_mean([each.calls for each in spent]),
        usd=_mean(known_usd) if len(known_usd) == len(spent) else None,
        endings=dict(endings),
        incomplete=sum(not sample.complete for sample in samples),
        stopped=sum(bool(sample.stopped) for sample in samples),
        distinct=_distinct(samples),
    )


def _difference(samples: tuple[Sample, ...], against: tuple[Sample, ...]) -> Difference:
    one, other = ([sample.rate for sample in each] for each in (samples, against))
    if _distinct(samples) == len(samples) and _distinct(against) == len(against):
        return difference(one, other)
    return Difference(_bare(_mean(one) - _mean(other)), math.nan)


def _distinct(samples: Sequence[Sample]) -> int:
    """Return how many samples have replies of their own; those without any have nothing to copy.

    At temperature 0, or where an endpoint ignores the seed, one answer comes again and again.
    """
    return len({sample.replies or sample.number for sample in samples})


def _bare(value: float) -> Interval:
    return Interval(value, math.nan, math.nan)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
