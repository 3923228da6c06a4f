"""Travels into the sandbox: forks for every question, imports the candidate there, answers.

The first process (the zygote) imports what all questions need and never the candidate's code. For
each question it forks a child, which imports the code, runs one probe and answers with one frame.
The zygote passes the frame on unread, and ends whatever the child left running.
Run as `python -I worker.py CONFIG`, with frames on standard input and output.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import itertools
import json
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
import types
from collections.abc import Callable
from multiprocessing import reduction
from pathlib import Path
from typing import Any


def _beside(name: str) -> Any:
    """Load a file that travels along; as a plain import the candidate could stand in its way."""
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


wire, reaper = _beside("wire"), _beside("reaper")
exercised, remains, tamper = _beside("exercised"), _beside("remains"), _beside("tamper")
_PR_SET_DUMPABLE = 4
Folders = Callable[[], str]
"""What makes folders for questions."""


def main() -> None:
    """Serve questions until standard input ends."""
    config = json.loads(sys.argv[1])
    questions, answers = os.dup(0), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what is printed is talk, and goes with the errors
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # no child may look into this process
    reaper.adopt_orphans()
    absent = [name for name in config["preload"] if not _preload(name)]
    begun, fresh_folder = remains.found(config["writable"]), _folders(config["scratch"])
    wire.send(answers, {"pid": os.getpid(), "absent": absent})
    while True:
        try:
            question = wire.receive(questions, deadline=float("inf"))
        except wire.WireClosed:
            return
        if "clean" in question:  # other code comes, and asks what this one left
            fresh_folder = _folders(config["scratch"])
            clean = begun is not None and begun == remains.found(config["writable"])
            wire.send(answers, {"clean": clean and reaper.newest(0) < remains.MANY})
            continue
        told = {**config, "package": question["package"]}
        frame = _answer_of_child(question, told, (questions, answers), fresh_folder)
        wire.write_all(answers, frame, deadline=float("inf"))


def _preload(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    if name == "torch":
        sys.modules["torch"].set_num_threads(config_threads())
        reduction.ForkingPickler.register(sys.modules["torch"].Tensor, _reduced)
    if name == "torch.optim":  # the first optimiser imports for seconds, and patches its class
        torch = sys.modules["torch"]
        torch.optim.AdamW([torch.zeros(1, requires_grad=True)])
    return True


def _reduced(tensor: Any) -> tuple[Any, ...]:
    """Send a tensor between processes as bytes: torch's own way needs sockets, which are shut."""
    plain = tensor.detach().cpu().contiguous()
    data = bytearray(plain.view(-1).view(sys.modules["torch"].uint8).numpy())
    return _rebuilt, (data, plain.dtype, tuple(plain.shape))


def _rebuilt(data: bytearray, dtype: Any, shape: tuple[int, ...]) -> Any:
    torch = sys.modules["torch"]
    whole = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
    return whole.reshape(shape)


def config_threads() -> int:
    """Return how many threads a child may compute on: those it may run on."""
    return len(os.sched_getaffinity(0))


def _answer_of_child(
    question: Any, config: dict[str, Any], host: tuple[int, int], fresh_folder: Folders
) -> bytes:
    """Fork, wait for one frame of the child until its time is over, and end the child."""
    read, write = os.pipe()
    stage_read, stage_write = os.pipe()
    folder, temporary = fresh_folder(), fresh_folder()
    child = os.fork()
    if not child:
        for other in (read, stage_read, *host):
            os.close(other)
        os.chdir(folder)
        _keep_temporary_files_in(temporary)
        _be_the_child(question, config, write, stage_write)
    os.close(write)
    os.close(stage_write)
    deadline = time.monotonic() + float(question["time_s"])
    try:
        frame: bytes = wire.receive_bytes(read, deadline=deadline)
    except wire.WireTimeout:
        frame = wire.encode({"failed": "time", "stage": _stage(stage_read)})
    except wire.WireClosed:
        status = reaper.status_of(child, deadline)
        frame = wire.encode({"failed": "ended", "stage": _stage(stage_read), "status": status})
    except wire.WireError as error:
        frame = wire.encode({"failed": "garbage", "text": str(error)})
    reaper.end_all(child, alone=config["alone"])
    for each in (folder, temporary):
        shutil.rmtree(each, ignore_errors=True)
    os.close(read)
    os.close(stage_read)
    return frame


def _folders(scratch: str) -> Folders:
    """Return what makes a folder for one question: none finds what another one left.

    They have the same names for each code that is asked, for it may speak of them.
    """
    numbers = itertools.count(1)

    def fresh_folder() -> str:
        while True:
            folder = f"{scratch}/{next(numbers)}"
            with contextlib.suppress(FileExistsError):  # an earlier question may have made it
                os.mkdir(folder, 0o700)  # noqa: PTH102 - as the rest of this file does
                return folder

    return fresh_folder


def _keep_temporary_files_in(folder: str) -> None:
    """Have them go with the question: a child ends before anything of its own removes them."""
    os.environ["TMPDIR"] = folder
    tempfile.tempdir = None  # what was preloaded may have asked already


def _stage(pipe: int) -> str:
    """Return the last thing that the child said it would do."""
    os.set_blocking(pipe, False)
    with contextlib.suppress(OSError):
        return os.read(pipe, 1 << 16).decode("utf-8", "replace").splitlines()[-1][:200]
    return ""


def _be_the_child(question: dict[str, Any], config: dict[str, Any], out: int, stage: int) -> None:
    """Answer one question and end; nothing here returns."""
    os.setsid()
    reached = exercised.Exercised(_files(config))
    try:
        answer = _answered(question, config, stage, reached)
    except BaseException as error:  # SystemExit of the candidate is an answer, too
        answer = {"raised": _told(error, _files(config), config["scratch"])}
    answer["lines"] = reached.lines()
    try:
        frame = wire.encode(answer)
    except wire.WireError as error:
        unsendable = {"kind": "Unsendable", "text": str(error), "at": ""}
        frame = wire.encode({"raised": unsendable, "lines": {}})
    with contextlib.suppress(BaseException):
        wire.write_all(out, frame, deadline=float("inf"))
    os._exit(0)


def _files(config: dict[str, Any]) -> str:
    """Return the folder of the candidate's files."""
    return "/".join([config["code"], *filter(None, config["package"].split("."))])


def _answered(
    question: dict[str, Any], config: dict[str, Any], stage: int, reached: Any
) -> dict[str, Any]:
    _seed(int(question["seed"]))
    probes = types.ModuleType("_probes")
    exec(compile(question["source"], question["name"], "exec"), probes.__dict__)  # noqa: S102
    probe = getattr(probes, question["function"])
    sys.path.insert(0, config["code"])
    before = tamper.identities()
    candidate = Candidate(config["package"], stage, question.get("dead") or {})
    os.write(stage, b"answering\n")
    with reached:
        result = probe(candidate, **question["arguments"])
    return {"answer": result, "tampered": tamper.changed_since(before)}


class Candidate:
    """What a probe sees of the code under test: its modules, each imported when asked for."""

    def __init__(self, package: str, stage: int, dead: dict[str, str]) -> None:
        self._package, self._stage, self._dead = package, stage, dead
        self._known: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return self.module(name)

    def module(self, name: str) -> Any:
        """Import a module of the candidate by its name, as `training` or `data.load`."""
        if name in self._dead:
            raise ImportError(self._dead[name])
        if name not in self._known:  # once, for nobody reads the pipe before the answer
            os.write(self._stage, f"importing {name}\n".encode())
            try:
                full = f"{self._package}.{name}" if self._package else name
                self._known[name] = importlib.import_module(full)
            finally:
                os.write(self._stage, b"answering\n")
        return self._known[name]


def _seed(seed: int) -> None:
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % 2**32)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


def _told(error: BaseException, code: str, scratch: str) -> dict[str, str]:
    """Return kind, text and place of an exception; the place is the last line of the code."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(code)]
    at = f"{own[-1].filename[len(code) :].lstrip('/')}:{own[-1].lineno}" if own else ""
    if isinstance(error, SyntaxError) and (error.filename or "").startswith(code):
        at = f"{str(error.filename)[len(code) :].lstrip('/')}:{error.lineno}"
    try:
        text = str(error)
        if isinstance(error, ImportError):
            text = text.removesuffix(f" ({error.path})")  # the module is named before it
    except BaseException:
        text = "(its text cannot be had)"
    for root in (
        code,
        scratch,
        sys.prefix,
        sys.base_prefix,
    ):  # where this machine keeps them says nothing
        text = text.replace(root, "…")
    return {"kind": type(error).__name__[:100], "text": text[:2000], "at": at}


if __name__ == "__main__":
    main()
