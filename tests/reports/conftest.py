"""A report made by hand, with one of everything."""

from __future__ import annotations

import pytest

from promptqueue.verify.report import Check, Finding, Report, Requirement
from promptqueue.verify.sandbox import Isolation


@pytest.fixture
def report() -> Report:
    findings = (
        Finding("parse", "does not parse: invalid syntax", "broken.py", 3),
        Finding("ruff", "Undefined name `np`", "model.py", 7, "F821"),
        Finding("ruff", "`os` imported but unused", "model.py", 1, "F401", "warning"),
    )
    requirements = (
        Requirement(
            *("noise", "preprocessing", "sigma 0.01", "lunar.yaml:46", "not met"),
            grades=("outcome",),
            checks=("test_noise.py::test_sigma",),
            evidence="sigma 0.048 measured, 0.01 asked",
            at="preprocessing.py:41",
        ),
        Requirement("aspp", "model", "three rates", "lunar.yaml:63", "met", ("static",), ("a::b",)),
        Requirement(
            *("dropout", "model", "0.3", "lunar.yaml:66", "not verified"),
            evidence="no check names it",
        ),
        Requirement(
            *("frozen", "model", "stem", "lunar.yaml:61", "error", ("outcome",), ("a::c",)),
            evidence="KeyError: 'x'",
        ),
    )
    checks = (
        Check(
            *("test_noise.py::test_sigma", ("noise",), "outcome", "failed"),
            evidence="sigma 0.048 measured, 0.01 asked",
            at="preprocessing.py:41",
            detail="assert 0.048 == 0.01",
        ),
    )
    return Report(
        *("lunar", "lunar.yaml", "d" * 64, "generated", 7),
        files={"model.py": "a" * 64},
        gates={"parse": "failed", "outputs": "passed", "ruff": "failed", "import": "not run"},
        findings=findings,
        requirements=requirements,
        checks=checks,
        isolation=Isolation("bwrap", ("mount",), (), ()),
        tampered=("torch.allclose",),
        versions={"python": "3.11.7"},
    )
