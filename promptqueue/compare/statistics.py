"""What samples of arms say, and how sure that is; the sample is the unit, not the requirement.

Requirements of one sample stand and fall together, so they are averaged within the sample first,
and all chance is that of whole samples (clusters).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LEVEL = 0.95
POWER = 0.8
_ENUMERATED = 7
"""Up to so many samples every resample is looked at: 7^7 are 823,543."""
_RESAMPLES = 20_000
_SEED = 20_251_126

Rates = Sequence[float]
"""Of each sample of an arm, the share of requirements that it meets."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its confidence interval; NaN where the samples cannot give one."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """How much more one arm meets than another."""

    interval: Interval
    p: float
    """Of the permutation test, two-sided: whether the labels of the samples matter at all."""


def mean_interval(rates: Rates) -> Interval:
    """Return the mean with its cluster-bootstrap interval.

    Quantiles are expanded as Hesterberg (The American Statistician 69, 2015) does it: those of the
    plain percentile bootstrap are too narrow for few samples. One sample has no interval, nor
    have samples that are all alike: resampling them says nothing of what others would be.
    """
    values = np.asarray(rates, dtype=float)
    means = _resampled_means(values)
    low, high = _expanded(means, len(values))
    return Interval(float(values.mean()), low, high)


def difference(one: Rates, other: Rates) -> Difference:
    """Return how much more `one` meets than `other`: interval and permutation test.

    The test is exact where all ways to deal the samples to the arms can be looked at.
    """
    first, second = (np.asarray(each, dtype=float) for each in (one, other))
    value = float(first.mean() - second.mean())
    random = np.random.default_rng(_SEED)
    gaps = random.choice(_resampled_means(first), _RESAMPLES) - random.choice(
        _resampled_means(second), _RESAMPLES
    )
    low, high = _expanded(gaps, min(len(first), len(second)))
    return Difference(Interval(value, low, high), _permutation_p(first, second))


def holm(ps: Sequence[float]) -> list[float]:
    """Return the p of several tests, each adjusted for all (Holm, Scand. J. Statist. 6, 1979)."""
    adjusted, least = list(ps), 0.0
    order = sorted(range(len(ps)), key=ps.__getitem__)
    for rank, index in enumerate(order):
        least = max(least, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = least
    return adjusted


def pass_at_k(passed: int, of: int, k: int) -> float:
    """Return the chance that at least one of `k` samples passes (Chen et al., arXiv 2107.03374).

    Args:
        passed: how many of the samples pass.
        of: samples.
        k: at most `of`.
    """
    return 1 - math.comb(of - passed, k) / math.comb(of, k)


def best_of(rates: Rates, k: float) -> float:
    """Return what the best of `k` samples meets on average; between whole k, by a line.

    Args:
        rates: all samples; the best of those that there are where k is more.
        k: at least 1.
    """
    count = len(rates)
    k = min(max(k, 1.0), float(count))
    below = math.floor(k)
    share = k - below
    first = _expected_maximum(rates, below)
    return first if not share else (1 - share) * first + share * _expected_maximum(rates, below + 1)


def smallest_p(one: int, other: int) -> float:
    """Return the smallest p that so many samples can give, however far apart the arms are.

    Two-sided is twice the smaller tail, as in `difference`.
    """
    return min(1.0, 2 / math.comb(one + other, one))


def fewest_samples(tests: int) -> int:
    """Return how many samples of each arm it takes for one of so many tests to show anything."""
    return next(n for n in itertools.count(2) if tests * smallest_p(n, n) <= 1 - LEVEL)


def detectable(samples: int, spread: float, *, tests: int = 1) -> float:
    """Return the difference that is found about four times out of five; infinite where none is.

    The power is that of a t-test at the level that the permutation test has: p of few samples
    comes in steps. With 4 or 5 of them it is found some seven or eight times out of ten.

    Args:
        samples: of each of two arms; at least 2.
        spread: standard deviation of the share of met requirements from sample to sample.
        tests: arms that are tested against the base, of which this is the one to be found first
            (Bonferroni's level, where Holm begins).
    """
    freedom = 2 * samples - 2
    step = smallest_p(samples, samples)
    error = step * math.floor((1 - LEVEL) / tests / step)
    quantiles = stats.t.ppf(1 - error / 2, freedom) + stats.t.ppf(POWER, freedom)
    return float(quantiles * spread * math.sqrt(2 / samples))


def coverage(samples: int) -> float:
    """Return how often intervals of so many samples hold the true value, at most.

    They end where the samples end, and all of these lie on one side of the median once in
    2^(samples - 1) times; what is true of it is about true of the mean.
    """
    return min(LEVEL, 1 - 2.0 ** (1 - samples))


def spread(arms: Sequence[Rates]) -> float | None:
    """Return the pooled standard deviation within arms; None where no arm has two samples."""
    several = [np.asarray(rates, dtype=float) for rates in arms if len(rates) > 1]
    if not several:
        return None
    squares = sum(float(((v - v.mean()) ** 2).sum()) for v in several)
    return math.sqrt(squares / sum(len(v) - 1 for v in several))


def _resampled_means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    count = len(values)
    if count <= _ENUMERATED:
        indices = np.array(list(itertools.product(range(count), repeat=count)))
    else:
        indices = np.random.default_rng(_SEED).integers(0, count, (_RESAMPLES, count))
    means: NDArray[np.float64] = values[indices].mean(axis=1)
    return means


def _expanded(resampled: NDArray[np.float64], count: int) -> tuple[float, float]:
    """Return the interval of resampled estimates, widened for few samples."""
    if count < 2 or np.ptp(resampled) == 0:
        return math.nan, math.nan
    t = stats.t.ppf((1 + LEVEL) / 2, count - 1)
    tail = float(stats.norm.cdf(-math.sqrt(count / (count - 1)) * t))
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return float(low), float(high)


def _permutation_p(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    if len(first) < 2 or len(second) < 2:
        return math.nan
    result = stats.permutation_test(
        (first, second),
        lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis),
        permutation_type="independent",
        vectorized=True,
        n_resamples=_RESAMPLES,
        rng=np.random.default_rng(_SEED),
    )
    return float(min(1.0, result.pvalue))


def _expected_maximum(rates: Rates, k: int) -> float:
    """Return the mean of the largest of k, over all ways to take k of the samples."""
    ordered, count = sorted(rates), len(rates)
    ways = math.comb(count, k)
    return sum(math.comb(i, k - 1) / ways * value for i, value in enumerate(ordered))
