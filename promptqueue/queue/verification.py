"""What a queue file says of judging its generated code: limits, what is preloaded, the pipeline."""

from __future__ import annotations

from pydantic import Field

from promptqueue.queue.types import Count, OutputPath, Seconds, Strict


class SandboxLimits(Strict):
    """What judged code may take; what takes more is stopped, and has failed."""

    wall_s: Seconds = Field(300, alias="wall")
    """Wall time of one sandbox: all the questions of a contract, or one pipeline."""
    cpu_s: Seconds | None = Field(None, alias="cpu")
    """Processor time of one process."""
    memory_mib: Count = Field(2048, ge=64)
    """Memory of all its processes together."""
    processes: Count = Field(64, ge=2)
    """Processes and threads."""
    disk_mib: Count = Field(256, ge=1)
    """Of its scratch folder, which lies in memory."""
    files: Count = Field(20_000, ge=100)
    """Files and folders in it."""
    output_mib: Count = Field(8, ge=1)
    """What it may print."""

    model_config = Strict.model_config | {"populate_by_name": True}


class Pipeline(Strict):
    """A program of the generated code that is run as a whole, and what it must leave."""

    command: tuple[str, ...] = Field(min_length=1)
    """Run in an empty folder; `{code}` is the folder of the generated files."""
    files: tuple[OutputPath, ...] = ()
    """What it must have written when it ends, relative to that folder."""
    wall: Seconds = 120
    """Wall time of it."""


class Verification(Strict):
    """How the generated code is judged."""

    preload: tuple[str, ...] = ()
    """Modules that every question needs, such as torch: imported once, before the code is."""
    question: Seconds = 20
    """Wall time of one question to the code, the import of its modules included."""
    limits: SandboxLimits = SandboxLimits()
    """What the code may take."""
    pipeline: Pipeline | None = None
    """The program as a whole, where there is one."""
