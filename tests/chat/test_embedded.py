"""The embedded endpoint: the real server with a model of 300 kB made here, and the real model."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import struct
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from promptqueue.chat import embedded
from promptqueue.chat.embedded import EmbeddedServer
from promptqueue.chat.weights import ensure_weights
from promptqueue.errors import EndpointError, StorageError

ANSWER_WITHIN_S = 60.0


def write_tiny_model(path: Path) -> Path:
    """Write a llama of one layer with random weights (format: GGUF 3, docs/gguf.md of ggml)."""
    rng, width, hidden = random.Random(3), 64, 128
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds = [2, 3, 3, *([6] * 256)]  # unknown, control, control, bytes
    settings = [
        gguf_text("general.architecture", "llama"),
        *(
            gguf_number(f"llama.{key}", number)
            for key, number in {
                "context_length": 4096,
                "embedding_length": width,
                "block_count": 1,
                "feed_forward_length": hidden,
                "attention.head_count": 2,
                "rope.dimension_count": width // 2,
            }.items()
        ),
        gguf_key("llama.attention.layer_norm_rms_epsilon", 6) + struct.pack("<f", 1e-5),
        gguf_text("tokenizer.ggml.model", "llama"),
        gguf_array("tokenizer.ggml.tokens", 8, [gguf_string(token) for token in tokens]),
        gguf_array("tokenizer.ggml.scores", 6, [struct.pack("<f", 0.0)] * len(tokens)),
        gguf_array("tokenizer.ggml.token_type", 5, [struct.pack("<i", kind) for kind in kinds]),
        gguf_number("tokenizer.ggml.bos_token_id", 1),
        gguf_number("tokenizer.ggml.eos_token_id", 2),
    ]
    shapes = {
        "token_embd.weight": (width, len(tokens)),
        "output.weight": (width, len(tokens)),
        "output_norm.weight": (width, 1),
        "blk.0.attn_norm.weight": (width, 1),
        "blk.0.ffn_norm.weight": (width, 1),
        **{f"blk.0.attn_{name}.weight": (width, width) for name in ("q", "k", "v", "output")},
        "blk.0.ffn_gate.weight": (width, hidden),
        "blk.0.ffn_up.weight": (width, hidden),
        "blk.0.ffn_down.weight": (hidden, width),
    }
    infos = data = b""
    for name, (columns, rows) in shapes.items():
        dims = (columns,) if rows == 1 else (columns, rows)
        packed = struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, 0, len(data))
        infos += gguf_string(name) + packed
        numbers = (rng.gauss(0, 0.3) for _ in range(columns * rows))
        data += struct.pack(f"<{columns * rows}f", *numbers)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(settings)) + b"".join(settings) + infos
    path.write_bytes(head + b"\0" * (-len(head) % 32) + data)
    return path


def gguf_string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def gguf_key(key: str, kind: int) -> bytes:
    return gguf_string(key) + struct.pack("<I", kind)


def gguf_text(key: str, text: str) -> bytes:
    return gguf_key(key, 8) + gguf_string(text)


def gguf_number(key: str, number: int) -> bytes:
    return gguf_key(key, 4) + struct.pack("<I", number)


def gguf_array(key: str, kind: int, items: list[bytes]) -> bytes:
    return gguf_key(key, 9) + struct.pack("<IQ", kind, len(items)) + b"".join(items)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("xllamacpp")
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], EmbeddedServer]:
    """Make servers whose child is a few lines of Python instead."""
    monkeypatch.setattr(embedded, "require_xllamacpp", lambda: None)
    monkeypatch.setattr(embedded, "CLOSE_TIMEOUT_S", 0.2)

    def make(script: str) -> EmbeddedServer:
        command = [sys.executable, "-c", textwrap.dedent(script)]
        monkeypatch.setattr(EmbeddedServer, "_command", lambda self: command)
        return EmbeddedServer(tmp_path / "no.gguf")

    return make


def ask(server: EmbeddedServer, path: str = "/models", body: Any = None, key: str = "") -> Any:
    with open_url(server, path, body, key) as response:
        return json.load(response)


def open_url(server: EmbeddedServer, path: str, body: Any = None, key: str = "") -> Any:
    headers = {"Authorization": f"Bearer {key or server.api_key}"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server.base_url + path, data, headers)
    return urllib.request.urlopen(request, timeout=ANSWER_WITHIN_S)


def child_pid(server: EmbeddedServer) -> int:
    assert server._child is not None
    return server._child.pid


def is_running(pid: int) -> bool:
    """A zombie that nobody has collected yet does not run."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    try:
        return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def wait_until_gone(pid: int, timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while is_running(pid):
        assert time.monotonic() < deadline, f"process {pid} was left behind"
        time.sleep(0.02)


def test_the_server_answers_under_its_address_and_is_gone_afterwards(tiny_model: Path) -> None:
    with EmbeddedServer(tiny_model, context_tokens=1024) as server:
        pid = child_pid(server)
        models = ask(server)["data"]
        body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3}
        reply = ask(server, "/chat/completions", body)
    assert server.base_url.startswith("http://127.0.0.1:")
    assert server.base_url.endswith("/v1")
    assert [model["id"] for model in models] == ["qwen2.5-coder-1.5b-instruct"]
    assert models[0]["meta"]["n_ctx"] == 1024
    assert reply["usage"]["completion_tokens"] == 3
    assert not is_running(pid)
    server.close()  # twice is fine


def test_who_does_not_know_the_key_is_refused(tiny_model: Path) -> None:
    with EmbeddedServer(tiny_model, context_tokens=1024) as server:
        for path in ("/models", "/chat/completions"):
            with pytest.raises(urllib.error.HTTPError) as caught:
                ask(server, path, key="guessed")
            assert caught.value.code == 401
            caught.value.close()
        arguments = Path(f"/proc/{child_pid(server)}/cmdline")
        if arguments.exists():  # every user of this machine may read it
            assert server.api_key.encode() not in arguments.read_bytes()


def test_two_servers_run_side_by_side(tiny_model: Path) -> None:
    with (
        EmbeddedServer(tiny_model, context_tokens=512) as one,
        EmbeddedServer(tiny_model, context_tokens=512) as two,
    ):
        assert one.base_url != two.base_url
        assert one.api_key != two.api_key
        assert ask(one)
        assert ask(two)


def test_the_log_is_appended_to_the_file_that_the_caller_names(
    tiny_model: Path, tmp_path: Path
) -> None:
    log = tmp_path / "new" / "server.log"
    for times in (1, 2):
        with EmbeddedServer(tiny_model, log_path=log, context_tokens=512, threads=1) as server:
            assert ask(server)  # and not gone before its log is written
            wait_until(lambda times=times: log.read_text().count("model loaded") == times)
            wait_until(lambda times=times: log.read_text().count("n_threads = 1") >= times)


def test_a_module_in_the_working_directory_does_not_reach_the_child(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Generated code may well be called json.py."""
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    monkeypatch.chdir(tmp_path)
    with EmbeddedServer(tiny_model, context_tokens=512) as server:
        assert ask(server)


PARENT = """
import signal, sys, time
from pathlib import Path
from promptqueue.chat.embedded import EmbeddedServer

signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it
with EmbeddedServer(Path(sys.argv[1]), context_tokens=512) as server:
    print(server._child.pid, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def parent(tiny_model: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process with a running server, in a group of its own like a shell's job."""
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tiny_model)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    with process:
        yield process
        process.kill()


def read_pid(parent: subprocess.Popen[str]) -> int:
    assert parent.stdout is not None
    return int(parent.stdout.readline())


def test_when_the_parent_is_killed_the_server_goes_too(parent: subprocess.Popen[str]) -> None:
    pid = read_pid(parent)
    assert is_running(pid)
    parent.kill()
    wait_until_gone(pid)


def test_ctrl_c_ends_parent_and_server(parent: subprocess.Popen[str]) -> None:
    pid = read_pid(parent)
    os.killpg(parent.pid, signal.SIGINT)
    assert parent.wait(10) == -signal.SIGINT
    wait_until_gone(pid)


FORK_AND_DIE = """
    import os, signal
    if os.fork() == 0:
        time.sleep(30)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_parent_whose_fork_holds_the_pipe_open(tiny_model: Path) -> None:
    """The end of the pipe never comes; the server sees that another process has inherited it."""
    script = PARENT.replace("time.sleep(600)", FORK_AND_DIE)
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tiny_model)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        wait_until_gone(read_pid(process))
        os.killpg(process.pid, signal.SIGKILL)


def test_an_interrupt_meant_for_the_parent_leaves_the_server_alone(tiny_model: Path) -> None:
    with EmbeddedServer(tiny_model, context_tokens=512) as server:
        assert os.getsid(child_pid(server)) != os.getsid(0)
        os.kill(child_pid(server), signal.SIGINT)
        for _ in range(20):  # an interrupted child would be gone by then
            time.sleep(0.02)
            assert ask(server)


@pytest.mark.parametrize(
    "stubborn",
    [
        'import time; print(\'{"base_url": "http://x"}\', flush=True); time.sleep(600)',
        """
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print('{"base_url": "http://x"}', flush=True)
        time.sleep(600)
        """,
    ],
    ids=["deaf to the end of stdin", "deaf to SIGTERM"],
)
def test_a_child_that_will_not_go_is_made_to(
    stubborn: str, stand_in: Callable[[str], EmbeddedServer]
) -> None:
    with stand_in(stubborn) as server:
        pid = child_pid(server)
        assert server.explain_end() is None
    assert not is_running(pid)


def test_a_damaged_model_is_told_with_the_first_errors_of_the_log(
    tiny_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"garbage")
    (tmp_path / "log").write_text("E an error of an earlier run\n")
    with (
        pytest.raises(EndpointError) as caught,
        EmbeddedServer(tmp_path / "bad.gguf", log_path=tmp_path / "log"),
    ):
        pass
    message = str(caught.value)
    assert "did not come up: its process ended with exit code 1" in message
    assert "E gguf_init_from_reader: invalid magic characters: 'garb'" in message
    assert "earlier run" not in message
    assert "OPENAI_BASE_URL" in message


def test_a_child_that_dies_without_errors_shows_its_last_lines(
    stand_in: Callable[[str], EmbeddedServer],
) -> None:
    server = stand_in(
        "import os, sys; print('loading', file=sys.stderr, flush=True); os.kill(os.getpid(), 9)"
    )
    with pytest.raises(EndpointError, match=r"its process was ended by SIGKILL\n    loading\n"):
        server.__enter__()
    assert server._child is None


def test_a_child_that_does_not_come_up_in_time(
    stand_in: Callable[[str], EmbeddedServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "START_TIMEOUT_S", 0.3)
    server = stand_in("import sys; sys.stdin.read()")
    with pytest.raises(EndpointError, match="did not come up within 0 s"):
        server.__enter__()
    assert server._child is None


def test_a_server_that_dies_later_says_why(tiny_model: Path) -> None:
    with EmbeddedServer(tiny_model, context_tokens=512) as server:
        assert server.explain_end() is None
        os.kill(child_pid(server), signal.SIGKILL)
        wait_until_gone(child_pid(server))
        told = server.explain_end() or ""
    assert told.startswith("The embedded model stopped: its process was ended by SIGKILL")
    assert told.endswith("Free some and run again, or set OPENAI_BASE_URL to use another endpoint.")


def test_without_xllamacpp_the_way_out_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with (
        pytest.raises(EndpointError, match=r"pip install .*\[embedded\]', or set OPENAI_BASE_URL"),
        EmbeddedServer(tmp_path / "any.gguf"),
    ):
        pass


def test_a_log_that_cannot_be_written(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StorageError, match="log cannot be written"),
        EmbeddedServer(tiny_model, log_path=tmp_path / "file" / "log"),
    ):
        pass


# --- the real model -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model_path() -> Path:
    pytest.importorskip("xllamacpp")
    return ensure_weights(lambda progress: None)


@pytest.fixture(scope="module")
def server(model_path: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(model_path) as server:
        yield server


def complete(server: EmbeddedServer, *turns: str, **params: Any) -> Any:
    roles = itertools.cycle(("user", "assistant"))
    messages = [{"role": role, "content": turn} for role, turn in zip(roles, turns, strict=False)]
    return ask(server, "/chat/completions", {"messages": messages} | params)


def text_of(reply: Any) -> str:
    return str(reply["choices"][0]["message"]["content"])


@pytest.mark.embedded
def test_the_model_writes_python_and_repeats_itself_under_one_seed(server: EmbeddedServer) -> None:
    question = "Write the Python function add(a, b). Only the code."
    params = {"max_tokens": 40, "temperature": 0.2, "seed": 7}
    first = complete(server, question, cache_prompt=False, **params)
    second = complete(server, question, **params)
    assert "def add(a, b)" in text_of(first)
    assert text_of(first) == text_of(second)


@pytest.mark.embedded
def test_a_longer_conversation_costs_only_its_new_tokens(server: EmbeddedServer) -> None:
    rules = "Name every variable carefully. " * 20 + "Say hello."
    first = complete(server, rules, max_tokens=8, temperature=0)
    reply = complete(server, rules, text_of(first), "Now in French.", max_tokens=2, temperature=0)
    cached = reply["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert cached >= first["usage"]["prompt_tokens"]
    assert reply["usage"]["prompt_tokens"] - cached < 30


@pytest.mark.embedded
def test_a_cut_answer_is_continued_natively(server: EmbeddedServer) -> None:
    body = {
        "messages": [
            {"role": "user", "content": "Count from 1 to 20, comma separated."},
            {"role": "assistant", "content": "1, 2, 3, 4"},
        ],
        "max_tokens": 8,
        "temperature": 0,
        "stream": True,
        "continue_final_message": True,
        "add_generation_prompt": False,
    }
    with open_url(server, "/chat/completions", body) as response:
        chunks = [json.loads(line[6:]) for line in response if line.startswith(b"data: {")]
    deltas = [choice["delta"].get("content") for chunk in chunks for choice in chunk["choices"]]
    assert "".join(delta or "" for delta in deltas).startswith(", 5, 6")


@pytest.mark.embedded
def test_too_long_a_prompt_is_refused_with_both_numbers(server: EmbeddedServer) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        complete(server, "word " * 33_000, max_tokens=1)
    with caught.value as answer:
        error = json.load(answer)["error"]
    assert (error["type"], error["n_ctx"]) == ("exceed_context_size_error", 32_768)


@pytest.mark.embedded
def test_a_caller_who_hangs_up_ends_the_answer(server: EmbeddedServer) -> None:
    """2000 tokens take over a minute; the next question must not wait for them."""
    long = {"max_tokens": 2000, "ignore_eos": True, "stream": True}
    body = {"messages": [{"role": "user", "content": "Tell a story."}]} | long
    with open_url(server, "/chat/completions", body) as response:
        response.readline()
    started = time.monotonic()
    complete(server, "Hi", max_tokens=1)
    assert time.monotonic() - started < 30


LOADING_PARENT = """
import sys
from pathlib import Path
from promptqueue.chat.embedded import EmbeddedServer

class Server(EmbeddedServer):
    def _read_address(self, child):
        print(child.pid, flush=True)
        return super()._read_address(child)

with Server(Path(sys.argv[1])):
    pass
"""


@pytest.mark.embedded
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere an orphan first loads to the end")
def test_a_parent_that_is_killed_while_the_model_loads(model_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", LOADING_PARENT, str(model_path)], stdout=subprocess.PIPE, text=True
    )
    with process:
        pid = read_pid(process)
        maps = Path(f"/proc/{pid}/maps")
        while model_path.name not in maps.read_text():  # it has begun to load
            time.sleep(0.02)
        process.kill()
        wait_until_gone(pid, timeout_s=20.0)
