"""Numbers in the sentences that users read."""


def counted(number: int, noun: str) -> str:
    """Return a number and what it counts: `1 file`, `1,200 files`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
