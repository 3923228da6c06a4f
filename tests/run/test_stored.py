"""What is on disk reads in a template as what is in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptqueue.queue.load import load_queue
from promptqueue.queue.model import StepResult, Turn
from promptqueue.queue.render import render_step
from promptqueue.run.blobs import Blobs
from promptqueue.run.stored import StoredFiles, StoredTurns

QUEUE = """\
promptqueue: 1
name: q
steps:
  - {id: a, task: Write a., outputs: [{path: a.py}]}
  - {id: b, template: t.j2, context: none, outputs: [{path: b.py}]}
"""


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        ("{{ steps.a.files | tojson }}", '{"a.py": "A = 1"}'),
        ("{{ steps.a.turns | tojson }}", '[["ask", "say"]]'),
        ("{{ '' ~ steps.a.files }}", "{'a.py': 'A = 1'}"),
        ("{{ steps.a.turns | string }}", "(Turn(prompt='ask', reply='say'),)"),
        ("{{ steps.a.turns[-1:] | string }}", "(Turn(prompt='ask', reply='say'),)"),
    ],
)
def test_a_stored_result_reads_as_one_in_memory(tmp_path: Path, template: str, prompt: str) -> None:
    (tmp_path / "q.yaml").write_text(QUEUE)
    (tmp_path / "t.j2").write_text(template)
    loaded = load_queue(tmp_path / "q.yaml")
    blobs = Blobs(tmp_path / "blobs")
    turns = StoredTurns(blobs, [(blobs.put("ask"), blobs.put("say"))])
    stored = StepResult("a", turns, StoredFiles(blobs, {"a.py": blobs.put("A = 1")}))
    in_memory = StepResult("a", (Turn("ask", "say"),), {"a.py": "A = 1"})

    for result in (stored, in_memory):
        (message,) = render_step(loaded, loaded.queue.steps[1], {}, {"a": result})
        assert message.content == prompt + "\n"
