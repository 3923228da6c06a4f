"""What a model is told of files that were judged: what was asked, what was seen, and where.

The same verdict on the same files gives the same bytes. The checks are never shown.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from promptqueue.queue.bullets import bullets, paragraphs
from promptqueue.queue.interface import UNPARSABLE, Definition
from promptqueue.queue.model import Output
from promptqueue.queue.templates import fenced
from promptqueue.run.ending import files_wanted, inserted, parts_wanted
from promptqueue.run.hints import hint_for, import_for, undefined_in
from promptqueue.run.torn import parse_torn
from promptqueue.run.units import Unit, unit_at
from promptqueue.run.verdict import Fault

_MOST_FAULTS = 5
"""Of one turn: a small model mends few things at once."""
_MOST_LINES = 40
"""Of a function that is shown."""
_MARK = "  # <-- look here"


def verdict_prompt(
    faults: Sequence[Fault],
    texts: Mapping[str, str],
    outputs: Sequence[Output],
    prompt: str,
    *,
    judged: bool = True,
) -> str:
    """Return the next turn of a step whose files are to be mended.

    Args:
        faults: one for each cause.
        texts: path to text of the files that have them.
        outputs: the files of the step.
        prompt: of the step.
        judged: they were run; else they cannot be.
    """
    ran = "Your files were run and tested. This is not as the task asks for:"
    lines = [ran if judged else "Your files cannot be run:", ""]
    faults = _once(faults)
    shown = faults[:_MOST_FAULTS]
    said, spoken = bullets(prompt), paragraphs(prompt)
    for number, fault in enumerate(shown, 1):
        lines += _told(number, fault, said, spoken, texts)
    left = len(faults) - _MOST_FAULTS
    if left > 0:
        lines += [f"({left} more will be told when these are mended.)"]
    lines += ["", *_places(shown, texts)]
    lines += ["Mend this, and keep everything else as it is.", ""]
    return "\n".join([*lines, *_wanted(shown, texts, outputs, prompt)]) + "\n"


def warned(prompt: str, faults: Sequence[Fault], texts: Mapping[str, str]) -> str:
    """Return a prompt that says what was wrong with an earlier answer, for one from scratch.

    Of that answer it shows the lines that failed, and no more: a model would copy it.

    Args:
        prompt: of the step.
        faults: one for each cause.
        texts: path to text of the files that had them.
    """
    if not faults:
        return prompt
    warnings = [_warning(fault, texts) for fault in _once(faults)[:_MOST_FAULTS]]
    told = "\n".join(dict.fromkeys(warnings))
    return inserted(f"An earlier answer failed. Avoid this:\n\n{told}", prompt)


def _once(faults: Iterable[Fault]) -> list[Fault]:
    """Return each cause once: a name that is missing is found by ruff, and where it is used."""
    causes: dict[tuple[str, str] | int, Fault] = {}
    for number, fault in enumerate(faults):
        name = undefined_in(fault.seen)
        cause = (fault.path, name) if name else number
        first = causes.setdefault(cause, fault)
        if not first.requirements:
            causes[cause] = replace(first, requirements=fault.requirements)
    return [*causes.values()]


def _warning(fault: Fault, texts: Mapping[str, str]) -> str:
    lines = texts.get(fault.path, "").split("\n")
    known = not fault.measured and 0 < fault.line <= len(lines)
    line = lines[fault.line - 1].strip() if known else ""
    hint = _hint(fault, texts)
    return f"- {f'`{line}` failed: ' if line else ''}{fault.seen}{f' ({hint})' if hint else ''}"


def unmarked(reply: str) -> str:
    """Return a reply without the marks of lines, which small models copy into their files."""
    return reply.replace(_MARK, "")


def files_sent(texts: Mapping[str, str]) -> str:
    """Return files as a model sends them: whatever turns they came in, here they are whole."""
    blocks = []
    for path, text in texts.items():
        language = "python " if path.endswith(".py") else ""
        blocks.append(fenced(text, f"{language}path={path}"))
    return "\n\n".join(blocks) + "\n"


def _wanted(
    faults: Sequence[Fault],
    texts: Mapping[str, str],
    outputs: Sequence[Output],
    prompt: str,
) -> list[str]:
    """Return how to send it: the functions and classes concerned, where all are known.

    A model that sends a long file again to mend a few lines of it loses others on the way.
    """
    units: dict[str, list[Unit]] = {}
    missing = _missing(faults)
    for fault in faults:
        unit = unit_at(texts.get(fault.path, ""), fault.line)
        if not unit or fault.path not in {output.path for output in outputs}:
            return [
                "Send whole, each in its own fence:",
                "",
                *files_wanted(outputs, prompt, missing),
            ]
        parts = units.setdefault(fault.path, [])
        parts += [unit] if unit not in parts else []
    lines = ["Send only what changes, each function or class whole, and the imports it needs:", ""]
    return [*lines, *parts_wanted(units, prompt, missing)]


def _missing(faults: Iterable[Fault]) -> dict[str, list[str]]:
    """Return path to imports that the files lack."""
    missing: dict[str, list[str]] = {}
    for fault in faults:
        if line := import_for(fault.seen):
            missing.setdefault(fault.path, []).append(line)
    return missing


def _told(
    number: int,
    fault: Fault,
    said: Mapping[str, str],
    spoken: dict[str, str],
    texts: Mapping[str, str],
) -> Iterator[str]:
    """Yield a fault with what was asked, or else with what the prompt says of its function.

    Args:
        number: of the fault in this turn.
        fault: what is told.
        said: name to bullet of the prompt.
        spoken: name of a function or class to paragraph; what is told of it is taken out.
        texts: path to text of the files.
    """
    alone = fault.requirements[0] if len(fault.requirements) == 1 else ""
    sentence, _, below = said.get(alone, "").partition("\n")
    found = f"Found: {fault.seen}{f' ({fault.at})' if fault.at else ''}"
    if fault.measured:
        asked = zip(fault.requirements, fault.asked, strict=True)
        yield f"{number}. Asked for: {' | '.join(f'{name}: {text}' for name, text in asked)}"
        yield from _indented(below)
        yield f"   {found}"
    else:
        yield f"{number}. {found}"
    if hint := _hint(fault, texts):
        yield f"   Hint: {hint}."
    if sentence and not fault.measured:
        yield f"   Asked for: {alone}: {sentence}"
        yield from _indented(below)
    if below if fault.measured else sentence:
        return
    names = [node.name for node in _definitions_around(texts.get(fault.path, ""), fault.line)]
    if name := next((name for name in names if name in spoken), ""):
        yield from _indented(f"Asked for: {spoken.pop(name)}")


def _indented(text: str) -> Iterator[str]:
    return (f"   {line}" for line in text.split("\n") if line)


def _places(faults: Sequence[Fault], texts: Mapping[str, str]) -> Iterator[str]:
    """Yield each function that a fault lies in, once, with the lines marked."""
    marked: dict[tuple[str, int, int], set[int]] = {}
    for fault in faults:
        if fault.path in texts and fault.line:
            span = _around(texts[fault.path], fault.line)
            marked.setdefault((fault.path, *span), set()).add(fault.line)
    for (path, first, last), numbers in marked.items():
        lines = texts[path].split("\n")  # where Python's parser does
        if last - first >= _MOST_LINES:
            first = max(first, min(numbers) - _MOST_LINES // 2)
            last = min(last, max(numbers) + _MOST_LINES // 2)
        yield from (f"In {path}:", "```")
        for line in range(first, min(last, len(lines)) + 1):
            yield lines[line - 1] + (_MARK if line in numbers else "")
        yield from ("```", "")


def _around(text: str, line: int) -> tuple[int, int]:
    """Return the first and last line of the innermost function or class around a line."""
    for node in _definitions_around(text, line):
        return node.lineno, node.end_lineno or node.lineno
    return line, line


def _hint(fault: Fault, texts: Mapping[str, str]) -> str:
    """Return what usually mends a fault, by its words and the function down to its line."""
    text = texts.get(fault.path, "")
    first, _ = _around(text, fault.line)
    return hint_for(fault.seen, "\n".join(text.split("\n")[first - 1 : fault.line]))


def _definitions_around(text: str, line: int) -> list[Definition]:
    """Return the functions and classes around a line, the innermost first."""
    try:
        tree = parse_torn(text)
    except UNPARSABLE:
        return []
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, Definition) and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    return sorted(found, key=lambda node: node.lineno, reverse=True)
