"""The one error of the data: every other module of the reference may raise it."""

from __future__ import annotations


class DataError(ValueError):
    """The data cannot be used; the message says what was found, where, and the way out."""
