"""Words that users read and write."""


def counted(number: int, noun: str) -> str:
    """Return a number and what it counts: `1 file`, `1,200 files`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def printable(text: str) -> str:
    """Return foreign words with a blank for each character that does something instead of showing.

    A line break is one, too: split what has several lines before.
    """
    return "".join(character if character.isprintable() else " " for character in text)


def is_unicode(text: str) -> bool:
    """Tell whether words of a command line are text: other bytes arrive as halves of pairs."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
