"""Travels into the sandbox: each function carries one question to the candidate."""


def mean(candidate, values):
    return {"mean": candidate.stats.mean(values)}


def median(candidate, values):
    return {"median": candidate.stats.median(values)}


def mean_of_nothing(candidate):
    try:
        candidate.stats.mean([])
    except ValueError:
        return {"refused": True}
    return {"refused": False}
