"""The reference: statistics of a list of numbers."""


def mean(values):
    """Return the arithmetic mean; ValueError for an empty list."""
    if not values:
        raise ValueError("no values")
    return sum(values) / len(values)


def median(values):
    """Return the median; the mean of the middle two if there are two."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return float(ordered[middle])
    return (ordered[middle - 1] + ordered[middle]) / 2
