"""A module with one of each, of which parts are sent alone."""

WHOLE = '''"""A module."""
import math

SIZE = 3


@staticmethod
def first(x):
    # a remark
    return x + 1


class Second:
    """With a method."""

    def third(self):
        return SIZE


def last():
    return 4
'''
