"""All wrong twins, in the order of the queue's requirements."""

from __future__ import annotations

from tests.lunar import twins_preprocessing

TWINS = [*twins_preprocessing.TWINS]
