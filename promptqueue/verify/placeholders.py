"""Code that was left out: comments that stand for it, in English and Russian; lost bodies."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Sequence
from dataclasses import dataclass

from promptqueue.verify.lint import one_line

_SHRUNK_FROM = 20
"""Lines that a version must have before a shorter one is suspect."""


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A comment that stands where code should be."""

    line: int
    """Line of the file, from 1."""
    text: str
    """The comment as one printable line."""


def has_shrunk(before: str, after: str) -> bool:
    """Tell whether a file has lost more than half of its lines: a body may have gone with them."""
    old = line_count(before)
    return old >= _SHRUNK_FROM and 2 * line_count(after) < old


def line_count(text: str) -> int:
    """Return the lines of a text, blank ones at its end apart."""
    return text.rstrip("\n").count("\n") + 1 if text.strip() else 0


def placeholders(text: str) -> tuple[Placeholder, ...]:
    """Return the comments that stand for code which was left out.

    Args:
        text: Python, or anything else with comments of its own line.
    """
    lines = text.split("\n")
    suspects = tuple(comment for comment in _line_comments(lines) if _is_lazy(comment, lines))
    if not suspects:  # nearly always, and the tokenizer takes longer than all else here
        return ()
    comments = _python_comments(text)  # what looks like a comment may stand in a string
    if comments is None:
        return suspects
    return tuple(comment for comment in comments if _is_lazy(comment, lines))


def _python_comments(text: str) -> list[Placeholder] | None:
    try:
        tokens = [*tokenize.generate_tokens(io.StringIO(text).readline)]
    except (tokenize.TokenError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return [
        Placeholder(token.start[0], one_line(token.string))
        for token in tokens
        if token.type == tokenize.COMMENT and _stands_alone(token)
    ]


def _stands_alone(token: tokenize.TokenInfo) -> bool:
    # A comment behind real code annotates it; a placeholder has its line for itself.
    return token.line[: token.start[1]].strip() in {"", "pass", "..."}


def _line_comments(lines: Sequence[str]) -> list[Placeholder]:
    return [
        Placeholder(number, one_line(line))
        for number, line in enumerate(lines, start=1)
        if len(line) <= 2 * _LAZY_CAP and _COMMENT_LINE.match(line)
    ]


_COMMENT_LINE = re.compile(r"\s*(?:(?:pass|\.\.\.)\s*)?(?:#|//|<!--|/\*)")
_LAZY_CAP = 120  # a longer comment explains something
_EDGES = " \t#/<>!*()[]{}-–—.…:,;'\"`"

_CODE = r"(?:code|class|function|method|module|implementation|script|program)"
_BARE = (
    r"(?:code|implementation|imports?|logic|body|functions|methods|definitions?|__\w+__|\w+\(\))"
)
"""What is hardly the matter itself, as a file, a class or a method may be."""
_CODES = rf"(?:{_CODE}s?|classes|imports?|logic|body|definitions?|__\w+__|\w+\(\))"
_SAME = (
    r"(?:unchanged|untouched|unmodified|omitted|not shown|as is|as before"
    r"|(?:exactly )?(?:the )?same(?: as (?:before|above|earlier|previously))?)"
)
_TAIL = rf"(?: (?:remains?|stays?|is|are|goes|follows|continues|here|for brevity|{_SAME}))"
_RU_WHOLE = r"(?:код|кода|класса|файла|модуля|функции|метода|скрипта|программы)"
_RU_SAME = (
    r"(?:без изменений|(?:как|так же,? как) (?:и )?(?:раньше|прежде|было|выше)|опущен[аоы]?"
    r"|прежни[мй]|прежней|прежними|тем же|та(?:ким|кой|кая|кое|кие) же|то же самое"
    r"|не (?:меня[ею]тся|изменил\w*))"
)
_RU_TAIL = rf"(?: (?:оста[её]тся|остаются|ид[её]т|здесь|тут|далее|{_RU_SAME}))"

# Not compiled here: that takes 15 ms, and few commands ever look for placeholders.
_LAZY_ALONE = "|".join(
    (
        rf"(?:existing|previous|your) (?:\w+ ){{0,2}}(?:{_CODES}|files?){_TAIL}*",
        rf"(?:original|old|other|remaining|same) (?:\w+ ){{0,2}}files?{_TAIL}+",
        rf"(?:[\w.]+ ){{0,4}}files?(?: remains?| stays?| is| are)? {_SAME}(?: for brevity)?",
        rf"{_SAME}|no changes?(?: here)?",
        r"same (?:code |implementation |logic )?as (?:before|above|earlier|previously"
        r"|(?:in )?the (?:previous|original|first) \w+)",
        _RU_SAME,
    )
)
"""Above code they say something of it: `# Existing checkpoint file`, `# no change`."""
_LAZY = "|".join(
    (
        rf"(?:the )?(?:rest|remainder) of (?:the |this |your )?(?:\w+ ){{0,3}}"
        rf"(?:{_CODE}|file){_TAIL}*",
        rf"(?:(?:the )?rest|(?:the )?remainder|everything else|(?:[\w.]+ ){{0,4}}{_CODES})"
        rf"(?: remains?| stays?| is| are)? {_SAME}(?: for brevity)?",
        rf"(?:existing|previous|your) (?:\w+ ){{0,2}}(?:{_BARE}|{_CODES}{_TAIL}+)",
        rf"(?:original|old|other|remaining|same) (?:\w+ ){{0,2}}{_CODES}{_TAIL}+",
        r"(?:(?:add|insert|put|write) )?(?:(?:your|the|actual|real|more) )?(?:\w+ )?"
        r"(?:code|implementation|logic)(?: goes| comes)? here",
        r".*\bfor (?:the sake of )?brevity",
        r"todo\W*(?:implement|fill in|write)(?: (?:this|it|me|here|the|your|code|function"
        r"|method|class|body|logic|implementation))*",
        rf"(?:весь )?остальной (?:\w+ )?код(?: {_RU_WHOLE})?{_RU_TAIL}*",
        rf"остальная часть (?:\w+ )?{_RU_WHOLE}{_RU_TAIL}*",
        rf"(?:вс[её] )?остальн(?:ое|ые)(?: \w+)?{_RU_TAIL}+",
        rf"(?:существующий|прежний|предыдущий|ваш) (?:\w+ )?код{_RU_TAIL}*",
        rf"(?:код|класс|функция|метод|методы|функции|реализация|импорты)(?: \w+)?{_RU_TAIL}"
        rf"{{0,2}} {_RU_SAME}",
        r"(?:здесь|тут) (?:ваш|остальной|прежний|будет) (?:\w+ )?код",
        r".*\bдля краткости",
    )
)
# Behind a leading ellipsis much less is needed: `# ... other methods`.
_ELIDED = (
    r"(?:the |your |all |and )?(?:rest|others?|existing|remaining|same|previous|original|unchanged"
    r"|omitted|code|implementation|more|etc|остальн\w*|прежн\w*|существующ\w*|предыдущ\w*"
    r"|как раньше|без изменений|далее|и так далее|и т|код|реализация|методы|функции|импорты)\b.*"
)
_ELLIPSIS = re.compile(r"[\s#/<!*(\[-]*(?:\.{3,}|…)")


def _is_lazy(comment: Placeholder, lines: Sequence[str]) -> bool:
    if len(comment.text) > _LAZY_CAP:
        return False
    core = " ".join(comment.text.removeprefix("pass").strip(_EDGES).lower().split())
    elided = _ELLIPSIS.match(comment.text.removeprefix("pass").removeprefix("..."))
    if not core:
        return bool(elided) and not _has_neighbours(comment.line, lines)
    if re.fullmatch(_LAZY, core) or (elided and re.fullmatch(_ELIDED, core)):
        return True
    return bool(re.fullmatch(_LAZY_ALONE, core)) and _ends_its_block(comment.line, lines)


def _ends_its_block(line: int, lines: Sequence[str]) -> bool:
    """Tell whether no statement follows in a comment's block, or but the stub of a body."""
    own = lines[line - 1]
    code = (each for each in lines[line:] if each.strip() and not _COMMENT_LINE.match(each))
    following = own if _STUB.match(own) else next(code, "")
    if not following or _column(following) < _column(own):
        return True
    above = (each for each in reversed(lines[: line - 1]) if each.strip())
    opener = next((each for each in above if _column(each) < _column(own)), "")
    return bool(_STUB.match(following)) and not _BRANCH.match(opener)


_STUB = re.compile(r"\s*(?:pass|\.\.\.)\s*(?:#|$)")
_BRANCH = re.compile(
    r"\s*(?:if|elif|else|try|except|finally|while|match|case|(?:async )?(?:for|with))\b"
)
"""What opens a block that may well be empty."""


def _column(line: str) -> int:
    line = line.expandtabs()
    return len(line) - len(line.lstrip())


def _has_neighbours(line: int, lines: Sequence[str]) -> bool:
    # `# ...` between other comments belongs to an example or a drawing
    around = (*lines[max(line - 2, 0) : line - 1], *lines[line : line + 1])
    return any(near.lstrip().startswith(("#", "//")) for near in around)
