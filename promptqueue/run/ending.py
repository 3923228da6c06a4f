"""The end of a turn: how each file is to be sent, as the step's prompt shows it.

A small model copies the end of what it is told, with its imports.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from promptqueue.queue.model import Output
from promptqueue.run.units import Unit

_HEADING = "\n## "
_FENCE = re.compile(r"^```[^`\n]*\bpath=(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_IMPORT = re.compile(r"(?:from|import)\s")
Missing = Mapping[str, Sequence[str]]
"""Path to imports that the file lacks."""


def files_wanted(outputs: Iterable[Output], prompt: str, missing: Missing) -> list[str]:
    """Return the lines that show how whole files are to be sent.

    Args:
        outputs: the files.
        prompt: of the step; what its answer format does not show is made up.
        missing: what the files lack.
    """
    shown = _templates(prompt)
    lines: list[str] = []
    for output in outputs:  # a fence line of its own: what stands behind a list mark is echoed
        names = f", which defines {', '.join(output.symbols)}" if output.symbols else ""
        template = shown.get(output.path, [f"...the whole file{names}..."])
        lines += _fence(output.path, [*_lacking(output.path, missing, template), *template])
    return lines


def parts_wanted(units: Mapping[str, Iterable[Unit]], prompt: str, missing: Missing) -> list[str]:
    """Return the same for some functions, classes and constants of each path."""
    bodies = {
        path: [line for part in parts for line in _to_fill(part)] for path, parts in units.items()
    }
    return openings_wanted(bodies, prompt, missing)


def openings_wanted(
    openings: Mapping[str, Sequence[str]], prompt: str, missing: Missing
) -> list[str]:
    """Return the same for lines that open what is to be sent of each path."""
    shown = _templates(prompt)
    lines: list[str] = []
    for path, bodies in openings.items():
        imports = [line for line in shown.get(path, []) if _IMPORT.match(line)]
        lines += _fence(path, [*_lacking(path, missing, imports), *imports, *bodies])
    return lines


def _to_fill(part: Unit) -> list[str]:
    """Return a part without its body: `def` itself says what to send, a paraphrase is copied."""
    if part.opening.endswith("="):
        return [f"{part.opening} <its value, corrected>"]
    return [*part.opening.split("\n"), "    <its lines, corrected>"]


def _lacking(path: str, missing: Missing, template: Sequence[str]) -> list[str]:
    """Return the imports that a file lacks, and the template of it as well."""
    return [line for line in dict.fromkeys(missing.get(path, ())) if line not in template]


def inserted(text: str, prompt: str) -> str:
    """Return a prompt with another paragraph, in front of its answer format."""
    before, answer_format = _split(prompt)
    return f"{before.rstrip()}\n\n{text}\n{answer_format}"


def _templates(prompt: str) -> dict[str, list[str]]:
    """Return what the answer format shows of each file, path to lines."""
    found = _FENCE.finditer(_split(prompt)[1])
    return {match[1]: match[2].rstrip("\n").split("\n") for match in found}


def _split(prompt: str) -> tuple[str, str]:
    """Return a prompt without its answer format, and that: from the last heading on."""
    start = prompt.rfind(_HEADING)
    return (prompt, "") if start < 0 else (prompt[:start], prompt[start:])


def _fence(path: str, body: Sequence[str]) -> list[str]:
    language = "python " if path.endswith(".py") else ""
    return [f"```{language}path={path}", *body, "```"]
