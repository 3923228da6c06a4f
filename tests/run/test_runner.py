"""The loop, with a scripted chat: what is asked, what is kept, and how a run goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from promptqueue.chat.config import Price
from promptqueue.chat.message import ChatEvent, Message, Request
from promptqueue.errors import EndpointError, LimitReached, QueueFileError, StorageError
from promptqueue.queue.load import load_queue
from promptqueue.queue.render import digest_of, render_queue
from promptqueue.run.blame import blame
from promptqueue.run.events import CallStarted, Event, FileWritten, Refining, RunFinished
from promptqueue.run.history import step_results
from promptqueue.run.journal import RunDirectory
from promptqueue.run.past import summary
from promptqueue.run.plan import Plan
from promptqueue.run.session import execute
from tests.run.bench import ONE, QUEUE, REMOTE, TWO, Bench
from tests.scripted import ScriptedChat, fence, reply_of

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_every_step_is_asked_in_order_and_its_files_are_written(bench: Bench) -> None:
    bench.run(ONE, TWO)
    assert bench.text("one.py") == "def one():\n    return 1\n"
    assert bench.text("two.py") == "x = 2\n"
    done = bench.finished()
    assert (done.complete, done.calls, done.incomplete) == (True, 2, ())
    assert (done.usage.prompt, done.usage.completion) == (200, 100)


def test_with_context_on_each_request_begins_with_the_one_before(bench: Bench) -> None:
    bench.run(ONE, TWO)
    first, second = (request.messages for request in bench.chat.asked)
    assert first[0] == Message("system", "You write Python.")
    assert second[: len(first)] == first
    assert second[len(first)] == Message("assistant", ONE)


def test_a_reply_without_the_file_is_refined_and_the_findings_are_told(bench: Bench) -> None:
    bench.run("I cannot do that.", ONE, TWO)
    second = bench.chat.asked[1].messages
    assert second[-2] == Message("assistant", "I cannot do that.")
    assert "one.py" in second[-1].content
    assert "\n```python path=one.py\n" in second[-1].content
    assert bench.finished().complete


ASK = """
import sys
from pathlib import Path
from tests.run.test_versions import ONE, TWO, WORSE, files, judged
bench = judged(Path(sys.argv[1]))
bench.run(files(one=WORSE), files(one=ONE), "no", files(one=ONE, two=TWO))
print([request.messages for request in bench.chat.asked])
"""


def test_the_same_findings_give_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    said = []
    for seed in ("1", "2"):  # of the hashes that order sets
        (tmp_path / seed).mkdir()
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", ASK, str(tmp_path / seed)]
        said.append(subprocess.check_output(command, env=environment, text=True))
    assert said[0] == said[1]
    assert "Your files were run and tested" in said[0]
    assert "Your reply cannot be used as it is" in said[0]
    assert str(tmp_path) not in said[0]


def test_only_the_files_that_are_not_usable_are_asked_for_again(tmp_path: Path) -> None:
    queue = QUEUE.replace(
        "outputs: [{path: two.py}]", "outputs: [{path: two.py}, {path: three.py}]"
    )
    bench = Bench(tmp_path, queue)
    bench.run(ONE, TWO, fence("three.py", "y = 3"))
    last = bench.chat.asked[-1].messages[-1].content
    assert "three.py" in last
    assert "two.py" not in last
    assert bench.text("two.py") == "x = 2\n"
    assert bench.text("three.py") == "y = 3\n"


def test_the_best_version_is_kept_not_the_last(tmp_path: Path) -> None:
    queue = QUEUE.replace("symbols: [one]", "symbols: [one, other]")
    bench = Bench(tmp_path, queue)
    broken = fence("one.py", "def one(:")
    bench.run(ONE, broken, broken, TWO)
    assert bench.text("one.py") == "def one():\n    return 1\n"
    assert bench.finished().incomplete == ("one",)
    assert json.loads(bench.text("manifest.json"))["files"]["one.py"]["turn"] == 0
    origins = {origin for origin, _ in blame(bench.folder / "out/one.py", bench.folder / "runs")}
    assert origins == {f"one turn 0 {bench.directory().path.name}"}


def test_a_file_that_does_not_parse_is_written_when_there_is_no_better_one(bench: Bench) -> None:
    broken = fence("one.py", "def one(:")
    bench.run(broken, broken, broken, TWO)
    assert bench.text("one.py") == "def one(:\n"
    assert not bench.finished().complete


def test_a_later_step_cannot_ruin_a_file_of_an_earlier_one(tmp_path: Path) -> None:
    queue = QUEUE.replace("outputs: [{path: two.py}]", "outputs: [{path: one.py}]")
    bench = Bench(tmp_path, queue)
    broken = fence("one.py", "def one(:")
    bench.run(ONE, broken, broken, broken)
    assert bench.text("one.py") == "def one():\n    return 1\n"
    assert bench.finished().incomplete == ("two",)


@pytest.mark.parametrize("turns", [0, 1])
def test_a_file_that_lost_most_of_its_lines_goes_back_and_is_usable(
    tmp_path: Path, turns: int
) -> None:
    queue = QUEUE.replace("outputs: [{path: two.py}]", "outputs: [{path: one.py}]")
    bench = Bench(tmp_path, queue.replace("turns: 2", f"turns: {turns}"))
    whole = fence("one.py", "def one():\n    return 1\n" + "x = 1\n" * 40)
    bench.run(whole, *[ONE] * (turns + 1))
    said = "has 2 lines where the version before had 42; send the whole file"
    told = [said in request.messages[-1].content for request in bench.chat.asked]
    assert told == [False, False, True][: 2 + turns]
    assert bench.finished().complete
    assert bench.text("one.py") == "def one():\n    return 1\n"
    assert json.loads(bench.text("manifest.json"))["files"]["one.py"]["shrunk_from"] == 42


def test_a_step_may_send_only_what_it_changes(tmp_path: Path) -> None:
    bench = Bench(
        tmp_path,
        QUEUE.replace("[{path: two.py}]", "[{path: one.py, parts: true}, {path: two.py}]"),
    )
    before = fence(
        "one.py", "LIMIT = 3\n\n\ndef one():\n    return 1\n\n\ndef more():\n    return 2"
    )
    bench.run(before, fence("one.py", "def more():\n    return LIMIT") + TWO)
    assert bench.finished().complete
    assert bench.text("one.py") == (
        "LIMIT = 3\n\n\ndef one():\n    return 1\n\n\ndef more():\n    return LIMIT\n"
    )


@pytest.mark.parametrize("known", [True, False], ids=["as it was before", "that is new"])
def test_of_a_file_only_what_changes_is_asked_again(tmp_path: Path, known: bool) -> None:
    queue = QUEUE.replace("[{path: two.py}]", "[{path: one.py, parts: true}, {path: two.py}]")
    bench = Bench(tmp_path, queue)
    bench.run(ONE if known else "I cannot.", *["Done."] * 9)
    first = next(r for r in bench.chat.asked if "two.py" in r.messages[-1].content)
    again = bench.chat.asked[bench.chat.asked.index(first) + 1].messages[-1].content
    assert ("one.py only each function that changes" in again) is known
    assert ("one.py: no block of the reply is this file; send the whole file" in again) is not known


def test_what_a_fresh_start_sends_goes_into_the_file_as_it_was(tmp_path: Path) -> None:
    bench = Bench(
        tmp_path,
        QUEUE.replace("[{path: two.py}]", "[{path: one.py, parts: true}, {path: two.py}]"),
    )
    before = fence("one.py", "def one():\n    return 1\n\n\ndef more():\n    return 2")
    useless = fence("one.py", "def one():\n    return 9")  # and no two.py
    bench.run(before, useless, useless, fence("one.py", "def more():\n    return 3") + TWO)
    assert [e.fresh for e in bench.events if isinstance(e, Refining)] == [False, True]
    assert bench.text("one.py") == "def one():\n    return 1\n\n\ndef more():\n    return 3\n"


def test_of_several_files_only_those_to_be_mended_are_shown(tmp_path: Path) -> None:
    queue = QUEUE.replace("[{path: two.py}]", "[{path: one.py}, {path: two.py}]")
    bench = Bench(tmp_path, queue)
    torn = fence("two.py", "def f():\n    return 1\n\n\ndef g():\n    return (")
    bench.run(ONE, ONE + torn, fence("two.py", "def g():\n    return 2"))
    shown = bench.chat.asked[2].messages[-2]
    assert shown.role == "assistant"
    assert "path=two.py" in shown.content
    assert "path=one.py" not in shown.content
    assert bench.text("two.py") == "def f():\n    return 1\n\n\ndef g():\n    return 2\n"


def test_the_same_useless_reply_twice_starts_the_step_afresh_with_another_seed(
    bench: Bench,
) -> None:
    bench.run("no", "no", ONE, TWO)
    first, _, third, _ = bench.chat.asked
    assert third.messages == first.messages
    assert (first.params.seed, third.params.seed) == (5, 6)
    assert [e.fresh for e in bench.events if isinstance(e, Refining)] == [False, True]


@pytest.mark.parametrize(
    ("named", "asked"),
    [
        ("temperature: 0.7, ", [0.7, 0.7, 0.9, 0.9, 1.0, 1.0, 1.0]),
        ("temperature: 1.3, ", [1.3] * 7),
        ("", [None] * 7),
    ],
    ids=["up to 1", "above 1 it stays", "none is named"],
)
def test_each_fresh_start_is_a_little_warmer(
    tmp_path: Path, named: str, asked: list[float | None]
) -> None:
    queue = QUEUE.replace("temperature: 0, ", named).replace("turns: 2", "turns: 6")
    bench = Bench(tmp_path, queue)
    bench.run(*["no"] * 7, TWO)
    params = [request.params for request in bench.chat.asked[:7]]
    assert [each.temperature for each in params] == asked
    assert [each.seed for each in params] == [5, 5, 6, 6, 7, 7, 8]


def test_refinement_stops_after_the_turns_that_the_queue_allows(bench: Bench) -> None:
    bench.run("no", "never", "not at all", TWO)
    assert len(bench.chat.asked) == 4
    assert bench.finished().incomplete == ("one",)
    assert not (bench.folder / "out/one.py").exists()


def test_a_failed_call_leaves_a_run_that_goes_on_without_asking_again(bench: Bench) -> None:
    with pytest.raises(EndpointError):
        bench.run(ONE, EndpointError("gone"))
    assert bench.kinds()[-1] == "run.interrupted"
    bench.run(TWO, resume=True)
    assert [request.messages[-1].content for request in bench.chat.asked] == [
        "## TASK\n\nWrite two.py.\n\n## ANSWER FORMAT\n\n" + ANSWER_TWO
    ]
    assert [e.reused for e in bench.events if isinstance(e, CallStarted)] == [True, False]
    done = bench.finished()
    assert (done.complete, done.calls, done.usage.prompt) == (True, 3, 200)


ANSWER_TWO = (
    "Return this file, whole, in a fence that begins with its path:\n\n"
    "```python path=two.py\n...the whole file...\n```\n"
    "Write complete, working code; leave nothing out.\n"
)


def test_resume_puts_back_files_that_went_missing(bench: Bench) -> None:
    bench.run(ONE, TWO)
    (bench.folder / "out/one.py").unlink()
    bench.run(resume=True)
    assert bench.text("one.py") == "def one():\n    return 1\n"
    assert bench.chat.asked == []


def test_after_a_change_of_the_queue_only_what_it_changes_is_asked_again(bench: Bench) -> None:
    bench.run(ONE, TWO)
    text = bench.queue_path.read_text().replace("Write two.py.", "Write two.py again.")
    bench.queue_path.write_text(text)
    bench.run(fence("two.py", "x = 22"), resume=True)
    assert len(bench.chat.asked) == 1
    assert bench.text("two.py") == "x = 22\n"


def test_what_had_arrived_of_a_reply_is_kept_when_the_user_stops(bench: Bench) -> None:
    with pytest.raises(KeyboardInterrupt):
        bench.run(ONE, KeyboardInterrupt())
    record = list(bench.directory().records())[-1]
    assert (record["event"], record["reason"]) == ("run.interrupted", "stopped by the user")
    assert bench.directory().blobs.get(record["partial"]) == "half a rep"


@pytest.mark.parametrize(("kind", "closed"), [("run.started", 0), ("call.delta", 1)])
def test_leaving_the_events_early_closes_the_connection_and_keeps_the_run(
    bench: Bench, kind: str, closed: int
) -> None:
    loaded = load_queue(bench.queue_path)
    bench.chat = ScriptedChat([ONE])
    plan = Plan(loaded, {}, REMOTE, bench.folder / "out", bench.folder / "runs", model="m")
    events = execute(plan, bench._connect)
    for event in events:
        if event.kind == kind:
            break
    events.close()
    assert bench.chat.closed_early == closed
    assert bench.kinds()[-1] == "run.interrupted"
    RunDirectory(bench.directory().path, write=True).close()


def test_leaving_the_events_at_the_last_one_is_no_stop(bench: Bench) -> None:
    def leave(event: Event) -> None:
        if event.kind in ("run.finished", "steps.stale"):
            raise GeneratorExit

    bench.on_event = leave
    with pytest.raises(GeneratorExit):
        bench.run(ONE, TWO)
    assert bench.kinds()[-1] == "run.finished"
    assert summary(str(bench.directory().path)).status == "complete"
    with pytest.raises(GeneratorExit):
        bench.refine("one", "Return 11.", fence("one.py", "def one():\n    return 11"))
    assert bench.kinds()[-1] == "steps.stale"
    assert summary(str(bench.directory().path)).status == "stale"


@pytest.mark.parametrize(
    ("limit", "asked", "message"),
    [
        ("calls: 1", 1, r"limit calls .* 1 calls were made, the limit is 1"),
        ("tokens: 250", 1, r"limit tokens .* 150 tokens are spent"),
        ("tokens: 20", 0, r"limit tokens .* 0 tokens are spent"),
        ("usd: 0.0004", 1, r"limit usd .* 0\.0002 USD are spent"),
    ],
)
def test_a_limit_is_checked_before_the_call_that_would_pass_it(
    tmp_path: Path, limit: str, asked: int, message: str
) -> None:
    queue = QUEUE.replace("    steps:", f"    limits: {{{limit}}}\n    steps:")
    bench = Bench(tmp_path, queue, prices={"m": Price(input=1.0, output=2.0)})
    with pytest.raises(LimitReached, match=message):
        bench.run(ONE, TWO)
    assert len([kind for kind in bench.kinds() if kind == "call.finished"]) == asked


def test_a_raised_limit_lets_the_run_go_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path, QUEUE.replace("    steps:", "    limits: {calls: 1}\n    steps:"))
    with pytest.raises(LimitReached):
        bench.run(ONE, TWO)
    text = bench.queue_path.read_text().replace("calls: 1", "calls: 5")
    bench.queue_path.write_text(text)
    bench.run(TWO, resume=True)
    assert bench.finished().complete
    assert len(bench.chat.asked) == 1


def test_the_price_of_a_run_is_the_sum_of_its_tokens(tmp_path: Path) -> None:
    bench = Bench(tmp_path, prices={"m": Price(input=10.0, output=100.0)})
    bench.run(reply_of(ONE, tokens=(1000, 10)), reply_of(TWO, tokens=(3000, 20)))
    # 4,000 tokens in at 10 USD and 30 out at 100 USD per million, worked out by hand
    assert bench.finished().usd == pytest.approx(0.043)


def test_without_a_price_nothing_is_claimed(bench: Bench) -> None:
    bench.run(ONE, TWO)
    assert bench.finished().usd is None


def test_edited_files_are_refused_before_anything_is_asked(bench: Bench) -> None:
    bench.run(ONE, TWO)
    (bench.folder / "out/one.py").write_text("mine = 1\n")
    with pytest.raises(StorageError, match=r"out/one\.py: not as a run left it.*--overwrite"):
        bench.run(ONE, TWO)
    assert bench.chat.asked == []
    assert bench.text("one.py") == "mine = 1\n"


@pytest.mark.parametrize("edited", [False, True], ids=["as it was written", "edited since"])
def test_a_new_run_knows_the_files_of_one_that_was_killed_before_it_entered_them(
    bench: Bench, edited: bool
) -> None:
    with pytest.raises(EndpointError):
        bench.run(ONE, EndpointError("gone"))
    (bench.folder / "out/manifest.json").unlink()  # as it is in the moment after the file
    if edited:
        (bench.folder / "out/one.py").write_text("mine = 1\n")
        with pytest.raises(StorageError, match=r"out/one\.py: not as a run left it"):
            bench.run(TWO)
        assert bench.text("one.py") == "mine = 1\n"
        return
    bench.run(TWO)
    assert bench.finished().complete


def test_of_a_run_that_finished_only_the_manifest_says_what_it_wrote(bench: Bench) -> None:
    bench.run("no", ONE, TWO)
    (bench.folder / "out/one.py").write_text("no")  # a text that the run keeps, and never wrote
    with pytest.raises(StorageError, match=r"out/one\.py: not as a run left it"):
        bench.run()


def test_overwrite_keeps_the_edited_text_as_a_blob(tmp_path: Path) -> None:
    bench = Bench(tmp_path, overwrite=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/one.py").write_text("mine = 1\n")
    bench.run(ONE, TWO)
    written = next(e for e in bench.events if isinstance(e, FileWritten))
    assert written.status == "replaced"
    assert bench.directory().blobs.get(written.old) == "mine = 1\n"


def test_a_file_edited_while_the_run_is_at_work_is_left_alone(bench: Bench) -> None:
    (bench.folder / "q.yaml").write_text(
        textwrap.dedent(QUEUE).replace("outputs: [{path: two.py}]", "outputs: [{path: one.py}]")
    )
    loaded = load_queue(bench.queue_path)
    bench.chat = ScriptedChat([ONE, fence("one.py", "def one():\n    return 22")])
    plan = Plan(loaded, {}, REMOTE, bench.folder / "out", bench.folder / "runs", model="m")
    done = None
    for event in execute(plan, bench._connect):
        if event.kind == "step.finished" and event.step == "one":  # type: ignore[union-attr]
            (bench.folder / "out/one.py").write_text("mine = 1\n")
        done = event
    assert isinstance(done, RunFinished)
    assert bench.text("one.py") == "mine = 1\n"
    assert bench.text("one.py.new") == "def one():\n    return 22\n"
    assert done.aside == (str(bench.folder / "out/one.py.new"),)
    with pytest.raises(StorageError, match=r"out/one\.py: not as a run left it"):
        bench.run(resume=True)
    assert bench.text("one.py") == "mine = 1\n"


def test_a_file_edited_while_a_resumed_run_is_at_work_is_left_alone(bench: Bench) -> None:
    with pytest.raises(EndpointError):
        bench.run(ONE, EndpointError("gone"))
    (bench.folder / "out/one.py").unlink()
    with pytest.raises(EndpointError):
        bench.run(EndpointError("gone"), resume=True)

    class Meddling(ScriptedChat):
        def ask(self, request: Request) -> Iterator[ChatEvent]:
            (bench.folder / "out/two.py").write_text("mine = 1\n")
            yield from super().ask(request)

    bench.script = Meddling
    bench.run(TWO, resume=True)
    assert bench.text("two.py") == "mine = 1\n"
    assert bench.finished().aside == (str(bench.folder / "out/two.py.new"),)


def test_overwrite_keeps_a_file_that_is_no_text(tmp_path: Path) -> None:
    bench = Bench(tmp_path, overwrite=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/one.py").write_bytes(b"# caf\xe9\r\n")
    bench.run(ONE, TWO)
    written = next(e for e in bench.events if isinstance(e, FileWritten))
    assert bench.directory().blobs.read(written.old) == b"# caf\xe9\r\n"


def test_a_template_that_cannot_be_rendered_is_found_before_anything_is_asked(
    tmp_path: Path,
) -> None:
    queue = QUEUE.replace("Write two.py.", 'Write {{ steps.one.files["nope.py"] }}')
    bench = Bench(tmp_path, queue)
    with pytest.raises(QueueFileError, match=r"nope\.py"):
        bench.run(ONE, TWO)
    assert bench.chat.asked == []
    assert not (tmp_path / "runs").exists()


def test_the_journal_tells_the_whole_story_and_the_results_can_be_read_back(bench: Bench) -> None:
    bench.run("no", ONE, TWO)
    assert bench.kinds() == [
        "run.started",
        *("step.started", "call.started", "call.attempt", "call.finished", "modules.extracted"),
        *("step.refining", "call.started", "call.attempt", "call.finished", "modules.extracted"),
        *("file.written", "step.finished"),
        *("step.started", "call.started", "call.attempt", "call.finished", "modules.extracted"),
        *("file.written", "step.finished", "run.finished"),
    ]
    results = step_results(load_queue(bench.queue_path).queue, bench.directory())
    assert [turn.reply for turn in results["one"].turns] == ["no", ONE]
    assert results["two"].files == {"two.py": "x = 2\n"}


def test_a_run_that_rewrites_a_file_can_be_rendered_as_it_was_asked(tmp_path: Path) -> None:
    queue = QUEUE.replace(
        "outputs: [{path: two.py}]",
        "outputs: [{path: one.py}]\n        context: [{step: one, as: files}]",
    )
    bench = Bench(tmp_path, queue)
    bench.run(ONE, fence("one.py", "def one():\n    return 22"))
    loaded = load_queue(bench.queue_path)
    rendered = render_queue(loaded, {}, step_results(loaded.queue, bench.directory()))
    asked = {r["step"]: r["digest"] for r in bench.records("step.started")}
    assert {step: digest_of(messages) for step, messages in rendered.items()} == asked
    assert "return 1\n" in rendered["two"][-1].content


def test_a_call_waits_for_the_disk_twice_and_before_its_reply_is_used(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    marks: list[tuple[str, int]] = []
    bench.on_event = lambda event: marks.append((event.kind, len(synced)))
    bench.run("no", ONE, TWO)
    begun = [count for kind, count in marks if kind in ("call.started", "run.finished")]
    heard = [count for kind, count in marks if kind == "call.finished"]
    assert heard == begun[1:]
    assert heard == [begin + 2 for begin in begun[:-1]]
