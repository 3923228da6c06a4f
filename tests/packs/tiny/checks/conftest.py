"""What the pipeline finds in its folder."""

import json
import random

import pytest


@pytest.fixture(scope="session")
def numbers(pytestconfig):
    """Return numbers that nobody knew when the code was written."""
    fresh = random.Random(pytestconfig.option.challenge_seed)
    return [fresh.uniform(-100, 100) for _ in range(11)]


@pytest.fixture(scope="session")
def pipeline_inputs(numbers):
    return {"numbers.json": json.dumps(numbers).encode()}
