"""The command line: commands are registered here, and errors become messages and exit codes."""

from __future__ import annotations

import io
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Annotated

import typer

from promptqueue import __version__
from promptqueue.cli import (
    compare_command,
    complete,
    doctor_command,
    past_commands,
    queue_commands,
    run_commands,
    steering_commands,
    verify_command,
)
from promptqueue.cli.frames import LOADERS, is_within
from promptqueue.errors import Interrupted, PromptQueueError, StorageError

_NAME = "promptqueue"
"""However it was started: usage says it, and the scripts of the shells go by it."""
_AGAIN_S = 0.05
"""So long after a signal that came while something was imported, it is looked at again."""
_UNREAD = 128 + signal.SIGPIPE
"""What shells say of a program that a closed pipe ended; 0 would be a verdict of `verify`."""
_WINGS = (
    run_commands,
    steering_commands,
    queue_commands,
    past_commands,
    doctor_command,
    verify_command,
    compare_command,
)


def main() -> None:
    """Run the command line; the only place that turns errors into exit codes."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # as standard error does from the start
        sys.stdout.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGALRM, _stop)
    ends = signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    try:
        if ends:
            signal.signal(signal.SIGINT, _stop)
        _call(sys.argv[1:])
    except PromptQueueError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("stopped", Interrupted.exit_code)
    except BrokenPipeError:
        _forget_stdout()  # nobody reads on: `promptqueue schema | head`
        sys.exit(_UNREAD)
    except OSError as error:
        _forget_stdout()
        _fail(
            f"{error.filename or 'the output'}: {error.strerror or error}", StorageError.exit_code
        )
    except Exception:  # a fault of ours is reported as one, without a wall of text
        _fail(_report_fault(), PromptQueueError.exit_code)
    finally:
        if ends:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # while Python tidies up


def _call(arguments: Sequence[str]) -> None:
    complete.join_words(os.environ)
    try:
        _command_line(arguments)(prog_name=_NAME)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # typer would end with 1
            raise end.__context__ from None
        raise


def _command_line(arguments: Sequence[str]) -> typer.Typer:
    """Return the command that is called; all of them where it is none, as for `--help`."""
    app = typer.Typer(
        name=_NAME,
        help="A conveyor that turns a queue of small prompts into source files.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # plain help is what pipes and screen readers want; starts faster
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for wing in _WINGS:
        wing.register(app)
    # Typer builds the options of all commands before it looks for the one.
    name = next((argument for argument in arguments if not argument.startswith("-")), "")
    called = [command for command in app.registered_commands if command.name == name]
    app.registered_commands = called or app.registered_commands
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"promptqueue {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def _stop(_signal: int, frame: FrameType | None) -> None:
    if is_within(LOADERS, frame):
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)  # it comes once more, as SIGALRM
    else:
        raise KeyboardInterrupt


def _forget_stdout() -> None:
    """Keep the interpreter from writing what is left to an output that takes nothing."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the end is near, and is said below
    try:
        sys.stdout.flush()
    except OSError:
        _forget_stdout()
    print(f"promptqueue: {message}", file=sys.stderr)  # noqa: T201 - here is where it prints
    sys.exit(code)


def _report_fault() -> str:
    kind, error, _ = sys.exc_info()
    with tempfile.NamedTemporaryFile(
        "w", prefix="promptqueue-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        traceback.print_exc(file=file)
    name = kind.__name__ if kind else "error"
    return f"a fault in promptqueue itself ({name}: {error}); please report it with {file.name}"
