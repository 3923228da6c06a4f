"""The contract of stats.py: fresh inputs go in, and the answers are compared with the reference."""

import pytest


def numbers(challenge, count):
    return [challenge.uniform(-1000, 1000) for _ in range(count)]


@pytest.mark.requirement("mean", grade="outcome")
def test_mean_of_fresh_numbers(candidate, reference, challenge, evidence):
    values = numbers(challenge, 7)
    answer, expected = candidate.ask("probes.mean", values=values)["mean"], reference("stats")
    evidence(f"{answer} for 7 fresh numbers, {expected.mean(values)} expected")
    assert type(answer) in (int, float)
    assert answer == pytest.approx(expected.mean(values), rel=1e-9)


@pytest.mark.requirement("mean", grade="outcome")
def test_mean_of_nothing_is_refused(candidate, evidence):
    answer = candidate.ask("probes.mean_of_nothing")
    evidence("ValueError for an empty list" if answer["refused"] is True else "[] was accepted")
    assert answer["refused"] is True


@pytest.mark.requirement("median", grade="outcome")
@pytest.mark.parametrize("count", [6, 7])
def test_median_of_fresh_numbers(candidate, reference, challenge, evidence, count):
    values = numbers(challenge, count)
    answer = candidate.ask("probes.median", values=values)["median"]
    expected = reference("stats").median(values)
    evidence(f"{answer} for {count} fresh numbers, {expected} expected")
    assert type(answer) in (int, float)
    assert answer == pytest.approx(expected, rel=1e-9)
