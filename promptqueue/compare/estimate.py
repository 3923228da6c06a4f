"""What a comparison would take, and what it could show, before anything is asked."""

from __future__ import annotations

from dataclasses import dataclass

from promptqueue.chat.quirks import estimate_prompt
from promptqueue.compare.design import Design
from promptqueue.compare.statistics import LEVEL, detectable, fewest_samples, smallest_p, spread
from promptqueue.compare.taking import Task, seed_of
from promptqueue.compare.variants import variant
from promptqueue.queue.render import render_queue

_ASSUMED_SPREAD = 0.15
"""Standard deviation from sample to sample, as long as no two samples say otherwise."""


@dataclass(frozen=True, slots=True)
class ArmEstimate:
    """What the samples of an arm take that are still missing."""

    arm: str
    samples: int
    """Still to be taken."""
    prompt_tokens: int
    """About, of all of them, without refinement and without what earlier replies add."""
    reply_tokens: int | None
    """At most, without refinement; None where nothing says how long a reply may be."""
    usd: float | None
    """At most; None where a price is not known, or how long a reply may be."""
    priced: bool = True
    """The price of each model that it asks is known."""
    greedy: bool = False
    """Asked with temperature 0, so that samples may be copies of each other."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is to be expected."""

    arms: tuple[ArmEstimate, ...]
    smallest_p: float
    """With so many samples of two arms, whatever they say; adjusted for the number of tests."""
    detectable: float | None
    """The difference of two arms that is found four times out of five; None where so few samples
    can never show one."""
    spread: float
    assumed: bool
    """The spread is assumed, not measured."""
    fewest: int = 4
    """Samples of each arm, below which no difference can be shown."""
    unpriced: tuple[str, ...] = ()
    """Arms of unknown price, where a limit of money is to hold."""


def estimate(design: Design) -> Estimate:
    """Return what is to be expected.

    Raises:
        QueueFileError: a template cannot be rendered.
        UsageError: what an arm leaves out is not there.
    """
    missing = design.missing()
    arms = [_of_arm(design, arm.name, [t for t in missing if t.arm is arm]) for arm in design.arms]
    measured = _measured(design)
    scatter = measured or _ASSUMED_SPREAD
    count, tests = design.samples, max(1, len(design.arms) - 1)
    least = min(1.0, tests * smallest_p(count, count))
    return Estimate(
        arms=tuple(arms),
        smallest_p=least,
        detectable=detectable(count, scatter, tests=tests) if least <= 1 - LEVEL else None,
        spread=scatter,
        assumed=not measured,
        fewest=fewest_samples(tests),
        unpriced=tuple(a.arm for a in arms if not a.priced) if design.limits.usd else (),
    )


def _measured(design: Design) -> float | None:
    """Return the spread so far; samples that are copies of each other say nothing of it."""
    known = [arm for arm in design.summary().arms if arm.distinct == len(arm.samples)]
    return spread([[sample.rate for sample in arm.samples] for arm in known])


def _of_arm(design: Design, name: str, tasks: list[Task]) -> ArmEstimate:
    if not tasks:
        return ArmEstimate(name, 0, 0, 0, 0.0)
    task, terms = tasks[0], design.terms
    inputs = terms.inputs_of(task.loaded)
    loaded = variant(task.loaded, task.arm, inputs, seed=seed_of(task))
    prompt, reply = 0, 0
    usd: float | None = 0.0
    capped = True
    for step, messages in zip(
        loaded.queue.steps, render_queue(loaded, inputs).values(), strict=True
    ):
        asked, cap = estimate_prompt(messages), loaded.queue.params_of(step).max_tokens
        capped = capped and cap is not None
        prompt, reply = prompt + asked, reply + (cap or 0)
        price = terms.prices.get(task.arm.model or terms.model or step.model or design.named or "")
        usd = usd + price.of(asked, cap or 0, 0) if usd is not None and price else None
    count = len(tasks)
    return ArmEstimate(
        name,
        count,
        count * prompt,
        count * reply if capped else None,
        count * usd if capped and usd is not None else None,
        priced=usd is not None,
        greedy=all(loaded.queue.params_of(step).temperature == 0 for step in loaded.queue.steps),
    )
