"""A replay finds where a run is not what its answers make of it, though its digests are sound."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from promptqueue.run.blobs import Blobs
from promptqueue.run.journal import RunDirectory
from promptqueue.run.replay import replay
from tests.run import test_versions as versions
from tests.run.bench import ONE, TWO, Bench
from tests.run.test_versions import files
from tests.scripted import fence

OTHER = "0" * 64


def forge(run: RunDirectory, event: str, **values: object) -> None:
    """Change the last record of a kind, and write the journal anew with digests that fit."""
    records = [*run.records()]
    next(record for record in reversed(records) if record["event"] == event).update(values)
    last, lines = OTHER, []
    for record in records:
        lines.append(json.dumps({**record, "prev": last}, ensure_ascii=False).encode())
        last = hashlib.sha256(lines[-1]).hexdigest()
    run.journal_path.write_bytes(b"".join(line + b"\n" for line in lines))


@pytest.mark.parametrize(
    ("event", "values", "found"),
    [
        ("step.started", lambda blobs: {"digest": OTHER}, "the prompt"),
        ("call.started", lambda blobs: {"key": OTHER}, "a question"),
        ("call.finished", lambda blobs: {"text": blobs.put(fence("two.py", "x = 3"))}, "two.py"),
        ("call.finished", lambda blobs: {"text": blobs.put("I will.")}, "what a reply holds"),
        ("modules.extracted", lambda blobs: {"issues": ["syntax"]}, "what a reply holds"),
        ("file.written", lambda blobs: {"digest": blobs.put("x = 3\n")}, "two.py"),
        ("step.finished", lambda blobs: {"complete": False}, "the end"),
    ],
)
def test_a_replay_names_what_comes_out_differently(
    tmp_path: Path, event: str, values: Callable[[Blobs], dict[str, object]], found: str
) -> None:
    bench = Bench(tmp_path)
    bench.run(ONE, "no", TWO)
    run = bench.directory()
    assert replay(run.path).differences == ()

    forge(run, event, **values(run.blobs))

    assert replay(run.path).differences == (f"two: {found} comes out differently",)


def test_a_replay_goes_by_the_verdicts_that_were_given(tmp_path: Path) -> None:
    green, both = files(one=versions.ONE), files(one=versions.ONE, two=versions.TWO)
    bench = versions.judged(tmp_path)
    bench.run(green, both)
    run = bench.directory()
    assert replay(run.path).differences == ()

    forge(run, "step.judged", standing=False)

    assert replay(run.path).differences == ("two: a verdict comes out differently",)
