"""What a model is told of files that were judged: what was asked, what was seen, and where.

The same verdict on the same files gives the same bytes. The checks are never shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from promptqueue.queue.bullets import bullets, paragraph_of
from promptqueue.queue.model import Output
from promptqueue.queue.templates import fenced
from promptqueue.run.ending import files_wanted, inserted, parts_wanted
from promptqueue.run.hints import hint_for, import_for, undefined_in
from promptqueue.run.suspects import classes_of, definitions_around, names_around, without_super
from promptqueue.run.units import Unit, unit_at
from promptqueue.run.verdict import Fault

_MOST_FAULTS = 5
"""Of one turn: a small model mends few things at once."""
_MOST_LINES = 40
"""Of a function that is shown."""
_MARK = "  # <-- look here"
_NO_SUPER = r"before Module\.__init__\(\) call"
"""What torch says where a class does not begin with `super().__init__()`."""


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
    faults = once(faults)
    shown = faults[:_MOST_FAULTS]
    told = set[str]()
    for number, fault in enumerate(shown, 1):
        lines += _told(number, fault, prompt, told, texts)
    left = len(faults) - _MOST_FAULTS
    if left > 0:
        lines += [f"({left} more will be told when these are mended.)"]
    everywhere = [*shown, *(each for fault in shown for each in alike(fault, texts))]
    lines += ["", *_places(everywhere, texts)]
    lines += ["Mend this, and keep everything else as it is.", ""]
    return "\n".join([*lines, *_wanted(everywhere, texts, outputs, prompt)]) + "\n"


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
    warnings = [_warning(fault, texts) for fault in once(faults)[:_MOST_FAULTS]]
    told = "\n".join(dict.fromkeys(warnings))
    return inserted(f"An earlier answer failed. Avoid this:\n\n{told}", prompt)


def once(faults: Iterable[Fault]) -> list[Fault]:
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
    hint = mends(fault, texts)
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
    missing = missing_in(faults)
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


def missing_in(faults: Iterable[Fault]) -> dict[str, list[str]]:
    """Return path to imports that the files lack."""
    missing: dict[str, list[str]] = {}
    for fault in faults:
        if line := import_for(fault.seen):
            missing.setdefault(fault.path, []).append(line)
    return missing


def _told(
    number: int, fault: Fault, prompt: str, told: set[str], texts: Mapping[str, str]
) -> Iterator[str]:
    """Yield a fault with what was asked, or else with what the prompt says of its function.

    Args:
        number: of the fault in this turn.
        fault: what is told.
        prompt: of the step.
        told: paragraphs of it that this turn has told already.
        texts: path to text of the files.
    """
    alone = fault.requirements[0] if len(fault.requirements) == 1 else ""
    sentence, _, below = bullets(prompt).get(alone, "").partition("\n")
    found = f"Found: {fault.seen}{f' ({fault.at})' if fault.at else ''}"
    if fault.measured:
        asked = zip(fault.requirements, fault.asked, strict=True)
        yield f"{number}. Asked for: {' | '.join(f'{name}: {text}' for name, text in asked)}"
        yield from _indented(below)
        yield f"   {found}"
    else:
        yield f"{number}. {found}"
    if hint := mends(fault, texts):
        yield f"   Hint: {hint}."
    if also := [names_around(texts[each.path], each.line)[-1] for each in alike(fault, texts)]:
        yield f"   The same is missing in {', '.join(also)}."
    if sentence and not fault.measured:
        yield f"   Asked for: {alone}: {sentence}"
        yield from _indented(below)
    if below if fault.measured else sentence:
        return
    text = texts.get(fault.path, "")
    paragraph = paragraph_of(prompt, names_around(text, fault.line), classes_of(text))
    if paragraph and paragraph not in told:
        told.add(paragraph)
        yield from _indented(f"Asked for: {paragraph}")


def alike(fault: Fault, texts: Mapping[str, str]) -> list[Fault]:
    """Return what a fault says of one class for the others that lack the same."""
    if not re.search(_NO_SUPER, fault.seen):
        return []
    places = without_super(texts.get(fault.path, ""))
    lines = [place.function.lineno for place in places if not place.holds(fault.line)]
    return [replace(fault, requirements=(), asked=(), at=f"{fault.path}:{n}") for n in lines]


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
    for node in definitions_around(text, line):
        return node.lineno, node.end_lineno or node.lineno
    return line, line


def mends(fault: Fault, texts: Mapping[str, str]) -> str:
    """Return what usually mends a fault, by its words and the function down to its line."""
    text = texts.get(fault.path, "")
    first, _ = _around(text, fault.line)
    return hint_for(fault.seen, "\n".join(text.split("\n")[first - 1 : fault.line]))
