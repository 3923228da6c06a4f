"""Asks the person at the terminal what follows a reply."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from promptqueue.cli.display import Display
from promptqueue.errors import UsageError
from promptqueue.run.steering import Decision, Review
from promptqueue.words import counted

_MENU = "(a)ccept, (c)hange, (e)dit the prompt, (r)etry, (v)iew the reply, (s)kip, (q)uit"
_MENU_OPEN = f"(f)ix what is wrong, {_MENU}"
_WORDS = {
    "a": "accept",
    "f": "fix",
    "c": "change",
    "e": "edit",
    "r": "retry",
    "v": "view",
    "s": "skip",
    "q": "quit",
}

_PLAIN = {
    "accept": Decision("accept"),
    "fix": Decision("refine"),
    "retry": Decision("retry"),
    "skip": Decision("skip"),
}


def refuse_without_terminal(*, json: bool) -> None:
    """Refuse to ask where nobody can answer.

    Raises:
        UsageError: standard input or output is no terminal, or is meant for a machine.
    """
    if json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "--interactive needs a terminal to ask at (and no --json); without one, let it run "
            "and correct a step afterwards with `promptqueue refine RUN STEP TEXT`"
        )


class Wheel:
    """Shows each reply and reads a decision."""

    def __init__(self, display: Display) -> None:
        self._display = display

    def __call__(self, review: Review) -> Decision:
        """Return what the user decides.

        Raises:
            KeyboardInterrupt: the user stops the run.
        """
        with self._display.paused():
            _show(review)
            while True:
                decision = self._ask(review)
                if decision is not None:
                    return decision

    def _ask(self, review: Review) -> Decision | None:
        default = "f" if review.issues else "a"
        menu = _MENU_OPEN if review.issues else _MENU
        command, _, rest = _read(f"{menu} [{default}]: ").partition(" ")
        word = _WORDS.get(command.lower()[:1] or default)
        if word is None or not _WORDS[word[0]].startswith(command.lower()):
            _say(f"{command!r} is none of these; give a letter, as c for change")
        elif word == "quit":
            raise KeyboardInterrupt
        elif word == "view":
            _say(review.reply.text)
        elif word == "change":
            text = rest.strip() or _read("what should change? ")
            return Decision("change", text) if text else None
        elif word == "edit":
            return _edited(review.prompt)
        else:
            return _PLAIN[word]
        return None


def _show(review: Review) -> None:
    for path, text in review.files.items():
        count = len(text.splitlines())
        _say(f"  {path}: {counted(count, 'line')}")
    if not review.files:
        _say("  no file in this reply")
    for issue in review.issues:
        _say(f"  not usable: {issue}")


def _edited(prompt: str) -> Decision | None:
    """Let the user edit the prompt in their editor; None when it stays as it was."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory(prefix="promptqueue-") as folder:
        file = Path(folder) / "prompt.md"
        file.write_text(prompt, "utf-8")
        try:
            subprocess.run([*shlex.split(editor), str(file)], check=True)
            text = file.read_text("utf-8")
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            _say(f"the editor {editor!r} failed ({error}); set EDITOR to one that works")
            return None
    if not text.strip() or text == prompt:
        _say("the prompt is as it was; nothing is asked")
        return None
    return Decision("edit", text)


def _read(question: str) -> str:
    try:
        return input(question).strip()
    except EOFError as error:
        raise KeyboardInterrupt from error


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - its task
