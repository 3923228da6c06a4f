"""The statistics against independent sources: counting, scipy, simulation with a known answer."""

from __future__ import annotations

import itertools
import math
from statistics import mean, variance

import numpy as np
import pytest
from scipy import stats

from promptqueue.compare.statistics import (
    best_of,
    coverage,
    detectable,
    difference,
    fewest_samples,
    holm,
    mean_interval,
    pass_at_k,
    smallest_p,
    spread,
)

REQUIREMENTS = 33


def drawn(random: np.random.Generator, samples: int, *, good: float = 0.4) -> list[float]:
    """Return shares of samples whose requirements stand and fall together (beta-binomial)."""
    quality = random.beta(10 * good, 10 * (1 - good), samples)
    return list(random.binomial(REQUIREMENTS, quality) / REQUIREMENTS)


@pytest.mark.parametrize(("passed", "of", "k"), [(0, 5, 2), (2, 5, 1), (2, 5, 3), (5, 5, 5)])
def test_pass_at_k_is_what_counting_all_choices_gives(passed: int, of: int, k: int) -> None:
    outcomes = [True] * passed + [False] * (of - passed)
    ways = list(itertools.combinations(outcomes, k))
    assert pass_at_k(passed, of, k) == pytest.approx(sum(map(any, ways)) / len(ways))


@pytest.mark.parametrize("k", [1, 2, 4])
def test_the_best_of_k_is_what_counting_all_choices_gives(k: int) -> None:
    rates = [0.1, 0.5, 0.2, 0.9]
    assert best_of(rates, k) == pytest.approx(mean(map(max, itertools.combinations(rates, k))))


def test_between_whole_numbers_of_samples_a_line_is_drawn() -> None:
    rates = [0.0, 0.3, 1.0]
    assert best_of(rates, 1.5) == pytest.approx((best_of(rates, 1) + best_of(rates, 2)) / 2)
    assert best_of(rates, 99) == 1.0


def test_p_is_what_dealing_the_samples_in_all_ways_gives() -> None:
    one, other = [0.2, 0.5, 0.6], [0.1, 0.3, 0.35, 0.4]
    pool, found = one + other, mean(one) - mean(other)
    deals = [
        mean(pool[i] for i in chosen) - mean(pool[i] for i in range(7) if i not in chosen)
        for chosen in itertools.combinations(range(7), 3)
    ]
    as_far = sum(gap >= found - 1e-9 for gap in deals) / len(deals)
    assert difference(one, other).p == pytest.approx(2 * as_far)  # two-sided: the tail, doubled
    assert difference(other, one).p == pytest.approx(2 * as_far)


def test_arms_that_are_far_apart_have_the_smallest_p_there_is() -> None:
    assert difference([0.8, 0.9, 0.85], [0.1, 0.2, 0.15]).p == pytest.approx(smallest_p(3, 3))
    assert smallest_p(5, 5) == pytest.approx(2 / 252)
    assert difference([0.8, 0.9, 0.85], [0.1, 0.2, 0.15, 0.3]).p == pytest.approx(smallest_p(3, 4))
    assert smallest_p(1, 1) == 1


def test_so_few_samples_that_nothing_can_be_shown() -> None:
    # 2 of 20, 70, 252 and 924 ways to deal them, times the number of tests, against 0.05
    assert [fewest_samples(tests) for tests in (1, 2, 6, 7)] == [4, 5, 5, 6]


@pytest.mark.parametrize("samples", [2, 5, 30])
def test_samples_that_are_all_alike_have_no_interval(samples: int) -> None:
    # 0 of 33 in five samples: the rule of three (Hanley and Lippman-Hand 1983) allows for shares
    # far above 0, and an interval of no width would be never wrong
    alike = [0.0] * samples
    assert math.isnan(mean_interval(alike).low)
    assert math.isnan(difference(alike, [1.0] * samples).interval.high)
    assert difference(alike, [1.0] * samples).interval.value == -1
    assert mean_interval([0.0, *alike, 0.1]).high > 0


@pytest.mark.parametrize("samples", [2, 3, 4])
def test_few_samples_hold_the_true_value_as_often_as_is_said(samples: int) -> None:
    random = np.random.default_rng(12)
    held = 0
    for _ in range(400):
        found = mean_interval(list(random.normal(0.4, 0.1, samples)))
        held += found.low <= 0.4 <= found.high
    assert held / 400 == pytest.approx(coverage(samples), abs=0.04)
    assert coverage(30) == 0.95


def test_p_values_of_several_tests_are_adjusted_as_r_does_it() -> None:
    # R 4.3: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []


def test_equal_arms_differ_by_nothing() -> None:
    same = difference([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])
    assert same.interval.value == 0
    assert same.p == 1


def test_a_single_sample_has_no_interval_and_no_p() -> None:
    assert math.isnan(mean_interval([0.5]).low)
    assert math.isnan(difference([0.5], [0.2]).p)


@pytest.mark.parametrize(("samples", "least"), [(5, 0.88), (10, 0.9), (30, 0.92)])
def test_intervals_hold_the_true_value_about_as_often_as_they_say(
    samples: int, least: float
) -> None:
    random = np.random.default_rng(7)
    trials = 300
    held = 0
    for _ in range(trials):
        found = mean_interval(drawn(random, samples))
        held += found.low <= 0.4 <= found.high
    assert least <= held / trials <= 0.99


def test_intervals_of_differences_hold_the_true_value_too() -> None:
    random = np.random.default_rng(8)
    held = 0
    for _ in range(150):
        found = difference(drawn(random, 6, good=0.6), drawn(random, 6, good=0.4)).interval
        held += found.low <= 0.2 <= found.high
    assert 0.88 <= held / 150 <= 0.99


def test_without_a_difference_p_is_small_as_rarely_as_it_says() -> None:
    random = np.random.default_rng(9)
    ps = [difference(drawn(random, 5), drawn(random, 5)).p for _ in range(200)]
    assert np.mean(np.array(ps) <= 0.05) <= 0.09


def test_many_samples_agree_with_the_normal_approximation() -> None:
    rates = drawn(np.random.default_rng(10), 400)
    low, high = stats.norm.interval(0.95, np.mean(rates), stats.sem(rates))
    found = mean_interval(rates)
    assert (found.low, found.high) == (
        pytest.approx(low, abs=0.004),
        pytest.approx(high, abs=0.004),
    )


@pytest.mark.parametrize(("samples", "tests"), [(4, 1), (5, 2)])
def test_few_samples_show_the_detectable_difference_by_the_test_that_is_made(
    samples: int, tests: int
) -> None:
    random, scatter = np.random.default_rng(13), 0.1
    gap = detectable(samples, scatter, tests=tests)
    ps = [
        difference(
            list(random.normal(gap, scatter, samples)), list(random.normal(0, scatter, samples))
        ).p
        for _ in range(300)
    ]
    assert 0.69 <= np.mean(np.array(ps) <= 0.05 / tests) <= 0.84


def test_where_p_is_never_small_no_difference_is_detectable() -> None:
    assert detectable(3, 0.1) == math.inf
    assert detectable(4, 0.1, tests=2) == math.inf


@pytest.mark.parametrize("tests", [1, 4])
def test_the_detectable_difference_is_found_four_times_out_of_five(tests: int) -> None:
    random, samples, scatter = np.random.default_rng(11), 8, 0.1
    gap = detectable(samples, scatter, tests=tests)
    found = [
        stats.ttest_ind(
            random.normal(gap, scatter, samples), random.normal(0, scatter, samples)
        ).pvalue
        < 0.05 / tests
        for _ in range(2000)
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=0.04)


def test_the_spread_is_that_within_arms() -> None:
    assert spread([[0.1, 0.3], [0.8, 1.0]]) == pytest.approx(np.std([0.1, 0.3], ddof=1))
    few, many, one = [0.1, 0.3], [0.2, 0.5, 0.8, 0.7], [0.4]
    pooled = (variance(few) + 3 * variance(many)) / 4  # by degrees of freedom
    assert spread([few, many, one]) == pytest.approx(math.sqrt(pooled))
    assert spread([[0.1], [0.9]]) is None
