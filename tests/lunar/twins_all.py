"""All wrong twins, in the order of the queue's steps."""

from __future__ import annotations

from tests.lunar import twins_model, twins_optimisation, twins_preprocessing, twins_training

TWINS = [
    *twins_preprocessing.TWINS,
    *twins_model.TWINS,
    *twins_training.TWINS,
    *twins_optimisation.TWINS,
]
