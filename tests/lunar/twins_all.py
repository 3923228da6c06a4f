"""All wrong twins, in the order of the queue's steps."""

from __future__ import annotations

from tests.lunar import (
    twins_kept,
    twins_optimisation,
    twins_preprocessing,
    twins_speed,
    twins_training,
)

TWINS = [
    *twins_preprocessing.TWINS,
    *twins_training.TWINS,
    *twins_kept.TWINS,
    *twins_speed.TWINS,
    *twins_optimisation.TWINS,
]
