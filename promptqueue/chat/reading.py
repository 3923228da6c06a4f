"""From parsed chunks to the text of a reply: content, thinking, finish reason and usage.

Thinking comes in four places: `reasoning_content` (vLLM until 2026-01, DeepSeek), `reasoning`
(vLLM, Ollama), `reasoning_details` (OpenRouter) and `<think>` at the beginning of the content.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from promptqueue.chat.failure import Failure
from promptqueue.chat.message import Message, Usage
from promptqueue.chat.quirks import estimate_tokens
from promptqueue.chat.stream import StreamError

_THOUGHT_ENDS = re.compile(r"</think>[ \t]*(?:\n|\Z)")
"""Elsewhere in a line it is spoken of, as in code that takes replies apart."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one network read added to the reply."""

    text: str = ""
    reasoning: str = ""


class Reading:
    """Puts the reply of one attempt together, chunk by chunk."""

    def __init__(self) -> None:
        self.finish_reason = ""
        self.model = ""
        self.refusal = ""
        self.usage: Usage | None = None
        self.has_choices = False
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._tokens = 0  # chunks with text: most servers send one token each
        self._split = ThinkSplitter()
        self._halves = {"text": "", "reasoning": ""}  # of a character outside the BMP

    @property
    def text(self) -> str:
        """The content so far."""
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        """The thinking so far."""
        return "".join(self._reasoning)

    def take(self, chunks: list[Any]) -> Piece:
        """Take parsed chunks and return what they add.

        Raises:
            StreamError: a chunk carries an error.
        """
        texts: list[str] = []
        thoughts: list[str] = []
        try:
            for chunk in chunks:
                choice = self._open_chunk(chunk)
                if choice is not None:
                    self._take_choice(choice, texts, thoughts)
        except StreamError:  # what came before the error was paid for
            self._add("".join(texts), "".join(thoughts))
            raise
        return self._add("".join(texts), "".join(thoughts))

    def finish(self) -> Piece:
        """Return what was held back because it might have become a tag or a character."""
        rest = self._split.finish()
        piece = self._add(rest.text, rest.reasoning, last=True)
        if not self._reasoning:
            self._separate_open_thought()
        return piece

    def counted(self, messages: Sequence[Message]) -> Usage:
        """Return the reported usage; what is missing of it is estimated, and marked as such."""
        reported = self.usage
        if reported is not None and reported.prompt:
            return reported
        prompt = sum(estimate_tokens(message.content) for message in messages)
        if reported is not None:
            return replace(reported, prompt=prompt, estimated=True)
        thought = estimate_tokens(self.reasoning)
        completion = max(estimate_tokens(self.text) + thought, self._tokens)
        return Usage(prompt, completion, reasoning=thought, estimated=True)

    def _open_chunk(self, chunk: Any) -> Any:
        """Note everything beside the text and return the first choice, if there is one."""
        if not isinstance(chunk, dict):
            raise StreamError(Failure.BROKEN_STREAM, "sent no chat reply", str(chunk))
        if chunk.get("error"):
            raise StreamError(Failure.BROKEN_STREAM, "error", chunk)
        if chunk.get("usage"):
            self.usage = read_usage(chunk["usage"]) or self.usage
        choices = chunk.get("choices")
        if not choices or not isinstance(choices, list) or not isinstance(choices[0], dict):
            return None
        self.has_choices = True
        self.model = self.model or str(chunk.get("model") or "")
        return choices[0]

    def _take_choice(self, choice: dict[str, Any], texts: list[str], thoughts: list[str]) -> None:
        if choice.get("finish_reason"):
            self.finish_reason = str(choice["finish_reason"])
        delta = choice.get("delta") or choice.get("message")
        if not isinstance(delta, dict):
            return
        content = delta.get("content")
        thought = _thought(delta)
        if content and not isinstance(content, str):
            parts = _parts(content)
            content, thought = parts.text, thought + parts.reasoning
        if content or thought:
            self._tokens += 1
        if content and not self._split.decided:
            piece = self._split.feed(content)
            content, thought = piece.text, thought + piece.reasoning
        if content:
            texts.append(content)
        if thought:
            thoughts.append(thought)
        if delta.get("refusal"):
            self.refusal += str(delta["refusal"])

    def _add(self, text: str, reasoning: str, *, last: bool = False) -> Piece:
        piece = Piece(
            self._whole("text", text, last=last),
            self._whole("reasoning", reasoning, last=last),
        )
        if piece.text:
            self._text.append(piece.text)
        if piece.reasoning:
            self._reasoning.append(piece.reasoning)
        return piece

    def _whole(self, kind: str, text: str, *, last: bool) -> str:
        r"""Join "\ud83d" and "\ude00" of two chunks to one character; nothing could write them."""
        if text.isascii() and not self._halves[kind]:
            return text
        text = self._halves[kind] + text
        held = not last and text[-1:] and "\ud800" <= text[-1] <= "\udbff"
        self._halves[kind] = text[-1] if held else ""
        text = text[:-1] if held else text
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _separate_open_thought(self) -> None:
        """Cut off thinking whose opening tag was in the prompt (R1 templates)."""
        end = _THOUGHT_ENDS.search(self.text)
        if end is not None and "<think>" not in self.text[: end.start()]:
            thought, content = self.text[: end.start()], self.text[end.end() :]
            self._reasoning, self._text = [thought], [content.lstrip("\n")]


def _thought(delta: Mapping[str, Any]) -> str:
    """Return the thinking of a delta; servers that send it under two names mean it once."""
    value = delta.get("reasoning_content") or delta.get("reasoning")
    if value:
        return value if isinstance(value, str) else ""
    details = delta.get("reasoning_details")
    if not isinstance(details, list):
        return ""
    return "".join(
        str(detail.get("text") or detail.get("summary") or "")
        for detail in details
        if isinstance(detail, dict)
    )


def _parts(content: Any) -> Piece:
    """Read content that is a list of parts; Mistral puts its thinking among them."""
    texts: list[str] = []
    thoughts: list[str] = []
    for part in content if isinstance(content, list) else []:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and part.get("type") in ("thinking", "reasoning"):
            thought = part.get("thinking") or part.get("reasoning") or part.get("text") or ""
            thoughts.append(thought if isinstance(thought, str) else _parts(thought).text)
        elif isinstance(part, dict):
            texts.append(str(part.get("text") or ""))
    return Piece("".join(texts), "".join(thoughts))


def read_usage(usage: Any) -> Usage | None:
    """Return the reported usage, cached prompt tokens included in `prompt`; None if unreadable."""
    if not isinstance(usage, dict):
        return None
    prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    if not prompt and not completion:
        return None
    cached = _count(usage.get("prompt_tokens_details"), "cached_tokens")
    reasoning = _count(usage.get("completion_tokens_details"), "reasoning_tokens")
    if cached and _count(usage, "total_tokens") == prompt + cached + completion:
        prompt += cached  # reported separately
    return Usage(prompt, completion, cached=cached, reasoning=reasoning)


def _count(counts: Any, name: str) -> int:
    value = counts.get(name) if isinstance(counts, dict) else None
    return int(value) if isinstance(value, int | float) and value > 0 else 0


class ThinkSplitter:
    """Separates `<think>…</think>` at the beginning of the content, even if a tag is cut.

    Only at the beginning: later in a text it is something that the reply talks about.
    """

    OPEN = "<think>"
    CLOSE = "</think>"

    def __init__(self) -> None:
        self.decided = False
        """True once everything further is content."""
        self._inside = False
        self._after = False  # behind the closing tag, before the first letter
        self._held = ""

    def feed(self, text: str) -> Piece:
        """Take the next piece of content and return what is certain by now."""
        self._held += text
        if not self._inside and not self._after:
            start = self._held.lstrip()
            if not start.startswith(self.OPEN):
                return Piece() if self.OPEN.startswith(start) else self._release()
            self._inside, self._held = True, start[len(self.OPEN) :]
        return self._end_of_thought() if self._inside else self._first_content()

    def finish(self) -> Piece:
        """Return what was held back; the stream is over."""
        held, self._held = self._held, ""
        return Piece(reasoning=held) if self._inside else Piece(text=held)

    def _end_of_thought(self) -> Piece:
        thought, tag, rest = self._held.partition(self.CLOSE)
        if not tag:
            keep = _shared_end(thought, self.CLOSE)
            self._held = thought[len(thought) - keep :]
            return Piece(reasoning=thought[: len(thought) - keep])
        self._inside, self._after, self._held = False, True, rest
        return Piece(self._first_content().text, thought)

    def _first_content(self) -> Piece:
        self._held = self._held.lstrip("\r\n")
        return self._release() if self._held else Piece()

    def _release(self) -> Piece:
        self.decided = True
        held, self._held = self._held, ""
        return Piece(text=held)


def _shared_end(text: str, tag: str) -> int:
    """Return how many characters at the end of the text may be the beginning of the tag."""
    return next((n for n in range(len(tag) - 1, 0, -1) if text.endswith(tag[:n])), 0)
