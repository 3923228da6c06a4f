"""Wrong input of every kind: a short error that names the thing and the way out, no traceback."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.command import COMMAND, QUEUE, Shell
from tests.fake_endpoint import Answer, Asked, FakeEndpoint, error, half, html, stream
from tests.scripted import fence

ONE = stream(fence("one.py", "def one():\n    return 1"))
TWO = stream(fence("two.py", "x = 2"))


def assert_short_error(
    done: subprocess.CompletedProcess[str], code: int, *parts: str, lines: int = 8
) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert len(done.stderr.strip().splitlines()) <= lines, done.stderr
    for part in parts:
        assert part in done.stderr


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("nope.yaml", None, ("nope.yaml does not exist", "q.yaml")),
        (".", None, ("is a directory", "name the YAML file")),
        ("bin.yaml", b"\x00\x01\x02", ("binary", "bin.yaml")),
        ("latin.yaml", "name: caf\xe9".encode("latin-1"), ("not UTF-8", "save it as UTF-8")),
        ("empty.yaml", b"", ("empty", "promptqueue schema")),
        ("bad.yaml", b"steps: [1,\n", ("bad.yaml:2:1: YAML",)),
        ("keys.yaml", QUEUE.replace("task", "taks", 1).encode(), ("did you mean 'task'?",)),
        ("quote.yaml", QUEUE.replace("Write", "{{ x }}").encode(), ("in quotes",)),
        (
            "undef.yaml",
            QUEUE.replace("Write one.py", "Write {{ x }}").encode(),
            ("'x' is undefined",),
        ),
    ],
)
def test_a_queue_file_that_is_none(
    shell: Shell, name: str, content: bytes | None, parts: tuple[str, ...]
) -> None:
    if content is not None:
        (shell.folder / name).write_bytes(content)
    for command in ("check", "run", "render"):
        assert_short_error(shell.run(command, name), 2, *parts, lines=12)


def test_a_queue_file_of_100_mb_is_refused_unread(shell: Shell) -> None:
    with (shell.folder / "big.yaml").open("wb") as file:
        file.truncate(100_000_000)
    assert_short_error(shell.run("check", "big.yaml"), 2, "100,000,000 bytes", "right file")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--set", "n=many"], ("'n' is a whole number, such as 5, not 'many'",)),
        (["--set", "n=0"], ("'n' is at least 1",)),
        (["--set", "m=1"], ("no input 'm'; it has n, s",)),
        (["--set", "n"], ("write it as name=value",)),
        (["--inputs", "nope.yaml"], ("nope.yaml does not exist",)),
        (["--endpoint", "nowhere"], ("no endpoint 'nowhere'", "embedded", "config.toml")),
        (["--base-url", "http://[::1"], ("is no base URL", "http://HOST:PORT/v1")),
        (["--set", f"s={os.fsdecode(bytes([233]))}"], ("'s' holds bytes that are no text",)),
        (["--base-url", "localhost:8000"], ("is no base URL", "http://HOST:PORT/v1")),
        (["--base-url", "http://a..b/v1"], ("is no base URL", "http://HOST:PORT/v1")),
        (["--base-url", f"http://{64 * 'a'}.de/v1"], ("is no base URL",)),
        (["--timeout", "inf"], ("--timeout is at most 86400 seconds", "not inf")),
        (["--timeout", "nan"], ("--timeout",)),
        (["--base-url", "http://127.0.0.1:9/v1", "--api-key-env", "NOPE"], ("$NOPE",)),
        (["--base-url", "http://h/v1", "--endpoint", "embedded"], ("exclude each other",)),
    ],
)
def test_wrong_options(shell: Shell, arguments: list[str], parts: tuple[str, ...]) -> None:
    shell.write(
        "q.yaml",
        QUEUE.replace(
            "steps:",
            "inputs: {n: {type: int, default: 3, min: 1}, s: {type: str, default: a}}\nsteps:",
        ),
    )
    assert_short_error(shell.run("run", "q.yaml", *arguments), 2, *parts)
    assert not (shell.folder / ".promptqueue").exists()


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        ("endpoints = 3", ("config.toml", "endpoints")),
        ("[endpoints.a]\nbase_url='http://h/v1'\nkey='sk-1'", ("endpoints.a.key",)),
        ("[endpoints.a", ("config.toml", "correct the file")),
        (
            "[endpoints.a]\nbase_url='http://h/v1'\nidle_timeout_s=inf\nmax_wait_s=nan",
            ("idle_timeout_s: this must be at most 86400", "max_wait_s: this must be at most"),
        ),
    ],
)
def test_a_wrong_configuration(shell: Shell, config: str, parts: tuple[str, ...]) -> None:
    shell.write("config.toml", config)
    assert_short_error(shell.run("run", "q.yaml"), 2, *parts)


@pytest.mark.parametrize(
    ("answer", "parts"),
    [
        (error(401, "Incorrect API key"), ("401 Incorrect API key", "to a valid key")),
        (
            error(404, "The model `x` does not exist", code="model_not_found"),
            ("404", "The model `x` does not exist", "Name another model"),
        ),
        (error(404, "Not Found"), ("404 Not Found", "it usually ends in /v1")),
        (error(429, "slow down", headers={"Retry-After": "0"}), ("429", "slow down")),
        (error(429, "You exceeded it", code="insufficient_quota"), ("quota", "Top up")),
        (error(500, "oops"), ("500 oops", "when the server has recovered")),
        (html(), ("HTML", "OpenAI-compatible server")),
        (half(ONE, 3), ("closed connection", "when the connection is stable")),
        (Answer(hangs=True), ("nothing came for 0.5 s", "--timeout")),
        (error(400, "no", code="context_length_exceeded"), ("overflow", "Send less context")),
        (stream("", finish="stop"), ("empty", "longer than the server's context")),
    ],
    ids=[
        "401",
        "model",
        "404",
        "429",
        "quota",
        "500",
        "html",
        "half",
        "silence",
        "overflow",
        "empty",
    ],
)
def test_an_endpoint_that_fails_for_ever(
    shell: Shell, answer: Answer, parts: tuple[str, ...]
) -> None:
    with FakeEndpoint(default=answer) as server:
        shell.configure(server.base_url)
        timeout = ("--timeout", "0.5") if answer.hangs else ()
        done = shell.run("run", "q.yaml", "--endpoint", "test", "--model", "x", *timeout)
        assert_short_error(done, 3, *parts, "127.0.0.1")
        server.release()
    assert "promptqueue resume" in done.stderr
    assert '"event":"run.interrupted"' in shell.journal()


def test_an_endpoint_that_refuses_connections(shell: Shell) -> None:
    done = shell.run(
        "run", "q.yaml", "--base-url", "http://127.0.0.1:9/v1", "--model", "x", "--attempts", "1"
    )
    assert_short_error(done, 3, "127.0.0.1:9", "refused")


def test_an_endpoint_with_several_models_lists_them(shell: Shell) -> None:
    with FakeEndpoint(models=("small", "large")) as server:
        done = shell.run("run", "q.yaml", "--base-url", server.base_url)
    assert_short_error(done, 3, "small, large", "--model")


def test_a_half_stream_is_kept_and_the_run_goes_on_later(shell: Shell) -> None:
    with FakeEndpoint([ONE], default=half(TWO, 4)) as server:
        shell.configure(server.base_url)
        assert shell.run("run", "q.yaml", "--endpoint", "test").returncode == 3
    assert '"partial":"' in shell.journal()
    with FakeEndpoint([TWO]) as server:
        shell.configure(server.base_url)
        done = shell.run("resume")
        assert (done.returncode, len(server.requests)) == (0, 1), done.stderr
    assert (shell.folder / "generated/tiny/two.py").read_text() == "x = 2\n"


def test_a_reply_without_anything_usable_is_exit_code_5_and_kept(shell: Shell) -> None:
    with FakeEndpoint(default=stream("I'd rather not.")) as server:
        done = shell.run("run", "q.yaml", "--base-url", server.base_url)
    assert_short_error(done, 5, "one, two", "keeps every reply")


def test_a_limit_is_exit_code_4(shell: Shell) -> None:
    shell.write("q.yaml", QUEUE + "limits: {calls: 1}\n")
    with FakeEndpoint([ONE, TWO]) as server:
        done = shell.run("run", "q.yaml", "--base-url", server.base_url)
        assert len(server.requests) == 1
    assert_short_error(done, 4, "limit calls", "promptqueue resume")


@pytest.mark.parametrize("place", ["out", "runs"])
def test_a_target_that_is_a_file(shell: Shell, place: str) -> None:
    shell.write("taken", "")
    with FakeEndpoint() as server:
        done = shell.run("run", "q.yaml", "--base-url", server.base_url, f"--{place}", "taken")
        assert server.requests == []
    assert_short_error(done, 6, "taken", f"--{place}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere; /proc serves below")
def test_a_read_only_target(shell: Shell) -> None:
    shell.folder.chmod(0o500)
    done = shell.run("run", "q.yaml", "--base-url", "http://127.0.0.1:9/v1")
    assert_short_error(done, 6, "--out")


@pytest.mark.parametrize("place", ["out", "runs"])
def test_a_target_that_nobody_may_write(shell: Shell, place: str) -> None:
    if not Path("/proc/self").exists():
        pytest.skip("needs /proc")
    with FakeEndpoint(default=ONE) as server:
        done = shell.run("run", "q.yaml", "--base-url", server.base_url, f"--{place}", "/proc/x")
        assert server.requests == []
    assert_short_error(done, 6, "/proc", f"--{place}")


def test_certificates_that_are_not_there(shell: Shell) -> None:
    shell.environ["SSL_CERT_FILE"] = "/gone/certificates.pem"
    done = shell.run("run", "q.yaml", "--base-url", "https://nowhere.invalid/v1", "--model", "m")
    assert_short_error(done, 3, "SSL_CERT_FILE")


def test_edited_files_are_exit_code_6_before_anything_is_asked(shell: Shell) -> None:
    (shell.folder / "generated/tiny").mkdir(parents=True)
    shell.write("generated/tiny/one.py", "mine = 1\n")
    with FakeEndpoint() as server:
        done = shell.run("run", "q.yaml", "--base-url", server.base_url)
        assert server.requests == []
    assert_short_error(done, 6, "generated/tiny/one.py", "--overwrite", "--out")


def test_a_target_that_gets_lost_on_the_way_leaves_two_ways_to_go_on(shell: Shell) -> None:
    def meddle(asked: Asked) -> Answer:
        if "two.py" not in asked.body["messages"][-1]["content"]:
            return ONE
        (shell.folder / "generated/tiny/two.py").mkdir(exist_ok=True)
        return TWO

    with FakeEndpoint(default=meddle) as server:
        done = shell.run("run", "q.yaml", "--base-url", server.base_url)
    run = next(shell.folder.glob(".promptqueue/runs/2*")).relative_to(shell.folder)
    assert_short_error(done, 6, "two.py", "`promptqueue run QUEUE --out DIR`")
    assert done.stderr.endswith(f"\ngo on with `promptqueue resume {run}`\n")
    assert_short_error(shell.run("resume"), 6, "two.py", "`promptqueue run QUEUE --out DIR`")


def test_resume_without_a_run(shell: Shell) -> None:
    assert_short_error(shell.run("resume"), 2, "there is no run in")
    assert_short_error(shell.run("render", "q.yaml", "--run", "x"), 2, "there is no run in")


def test_a_damaged_journal_is_named(shell: Shell) -> None:
    with FakeEndpoint([ONE, TWO]) as server:
        shell.run("run", "q.yaml", "--base-url", server.base_url)
    path = next(shell.folder.glob(".promptqueue/runs/*/journal.jsonl"))
    path.write_text(path.read_text().replace('"calls":2', '"calls":1').replace("one.py", "eno.py"))
    assert_short_error(shell.run("resume"), 6, "journal.jsonl:", "damaged", "start a new run")


def test_an_unknown_step_is_named(shell: Shell) -> None:
    done = shell.run("render", "q.yaml", "--step", "tow")
    assert_short_error(done, 2, "no step 'tow'", "did you mean 'two'?")


def test_a_step_that_needs_what_did_not_come_back_is_not_asked(shell: Shell) -> None:
    needs = QUEUE.replace("Write two.py.", "'Use {{ steps.one.interface(\"one.py\") }}'")
    shell.write("q.yaml", needs)
    with FakeEndpoint(default=stream("I'd rather not.")) as server:
        done = shell.run("run", "q.yaml", "--base-url", server.base_url)
        assert len(server.requests) == 2  # step one and its refinement
    assert_short_error(done, 5, "one, two")
    assert "two: not asked, because one did not bring its files" in done.stdout


def test_json_says_at_the_end_why_a_run_failed(shell: Shell) -> None:
    with FakeEndpoint(default=error(401, "no")) as server:
        done = shell.run("run", "q.yaml", "--base-url", server.base_url, "--json")
    last = json.loads(done.stdout.splitlines()[-1])
    assert (last["event"], last["exit_code"]) == ("run.failed", 3)
    assert "promptqueue resume" in last["message"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [([], 5), (["--out", "q.yaml"], 6), (["--set", "m=1"], 2), (["--limit", "calls=1"], 4)],
)
def test_json_ends_with_the_exit_code_wherever_a_run_fails(
    shell: Shell, arguments: list[str], code: int
) -> None:
    with FakeEndpoint(default=stream("I'd rather not.")) as server:
        done = shell.run("run", "q.yaml", "--base-url", server.base_url, "--json", *arguments)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["exit_code"] for line in told if line["event"] == "run.failed"] == [code]
    assert told[-1]["event"] == "run.failed"
    assert done.stderr == f"promptqueue: {told[-1]['message']}\n"
    assert done.returncode == code


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--api-key-env", "KEY"], "--api-key-env goes with --base-url"),
        (["--endpoint", "openai"], "neither OPENAI_API_KEY nor OPENAI_BASE_URL is set"),
    ],
)
def test_flags_that_lead_nowhere_are_refused(
    shell: Shell, arguments: list[str], message: str
) -> None:
    assert_short_error(shell.run("run", "q.yaml", *arguments), 2, message)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_output_that_takes_nothing_is_no_fault_of_ours(shell: Shell) -> None:
    command = f"{' '.join(COMMAND)} schema > /dev/full"
    done = subprocess.run(
        command,
        shell=True,
        cwd=shell.folder,
        env=shell.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert_short_error(done, 6, "No space left on device")


def test_a_queue_file_whose_name_is_no_text_does_what_others_do(shell: Shell) -> None:
    name = os.fsdecode(b"caf\xe9.yaml")
    (shell.folder / name).write_text(QUEUE)
    assert shell.run("check", name).stdout.startswith(r"caf\udce9.yaml: sound")
    with FakeEndpoint([ONE, TWO]) as server:
        for how in ([], [], ["--json"]):
            done = shell.run("run", name, "--base-url", server.base_url, *how)
            assert done.returncode == 0, done.stderr
        assert len(server.requests) == 2
    assert json.loads(done.stdout.splitlines()[0])["queue"] == name


def test_half_a_character_in_an_error_of_the_server_is_shown_as_such(shell: Shell) -> None:
    with FakeEndpoint(default=error(500, "oh \ud800 no")) as server:
        shell.configure(server.base_url)
        done = shell.run("run", "q.yaml", "--endpoint", "test", "--model", "x")
    assert_short_error(done, 3, r"oh \ud800 no")
    assert r"attempt 1 failed: 500 oh \ud800 no" in done.stdout


def test_a_damaged_manifest_is_named(shell: Shell) -> None:
    with FakeEndpoint([ONE, TWO]) as server:
        shell.run("run", "q.yaml", "--base-url", server.base_url)
        shell.write("generated/tiny/manifest.json", "{")
        done = shell.run("run", "q.yaml", "--base-url", server.base_url)
    assert_short_error(done, 6, "manifest.json cannot be read")
