"""What holds for all tests."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

# A machine that is held up for a moment is no finding, and a red test must be red again.
settings.register_profile(
    "tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")

# Where a shell started the tests in its background, they ignore Ctrl-C, and so would each command
# that they start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
