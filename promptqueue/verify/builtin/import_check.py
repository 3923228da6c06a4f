"""Does every declared module import, each alone in a fresh process?"""

from __future__ import annotations

import pytest

from promptqueue.verify.candidate import Candidate, CandidateError


@pytest.mark.gate("import")
def test_imports(module_name: str, candidate: Candidate) -> None:
    try:
        candidate.ask_module(module_name)
    except CandidateError as error:
        error.about = f"{module_name.replace('.', '/')}.py"
        raise
