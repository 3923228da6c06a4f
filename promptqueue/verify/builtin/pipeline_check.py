"""Does the program of the queue's pipeline run to its end, and leave what it must?"""

from __future__ import annotations

import pytest

from promptqueue.verify.plugin import PipelineResult


@pytest.mark.gate("pipeline")
def test_runs_to_its_end_and_leaves_its_files(pipeline: PipelineResult) -> None:
    assert not pipeline.failure, pipeline.failure
    missing = [name for name in pipeline.expected if name not in pipeline.files]
    assert not missing, f"not written: {', '.join(missing)} (or a link, or beyond output_mib)"
