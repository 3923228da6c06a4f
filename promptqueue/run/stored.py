"""Texts of finished steps: on disk until a template or a context asks for them.

So the memory of a run does not grow with its length, however many steps there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import overload

from promptqueue.queue.model import Turn
from promptqueue.run.blobs import Blobs


class StoredFiles(Mapping[str, str]):
    """Path to text, of files whose digests are known."""

    def __init__(self, blobs: Blobs, digests: Mapping[str, str]) -> None:
        self._blobs = blobs
        self._digests = digests

    def __getitem__(self, path: str) -> str:
        return self._blobs.get(self._digests[path])

    def __iter__(self) -> Iterator[str]:
        return iter(self._digests)

    def __len__(self) -> int:
        return len(self._digests)

    def __repr__(self) -> str:
        return repr(dict(self))  # never an address: a template may show it


class StoredTurns(Sequence[Turn]):
    """The turns of a step, as digests of prompt and reply."""

    def __init__(self, blobs: Blobs, digests: Sequence[tuple[str, str]]) -> None:
        self._blobs = blobs
        self._digests = digests

    @overload
    def __getitem__(self, index: int) -> Turn: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Turn]: ...

    def __getitem__(self, index: int | slice) -> Turn | Sequence[Turn]:
        if isinstance(index, slice):
            return StoredTurns(self._blobs, self._digests[index])
        prompt, reply = self._digests[index]
        return Turn(self._blobs.get(prompt), self._blobs.get(reply))

    def __len__(self) -> int:
        return len(self._digests)

    def __repr__(self) -> str:
        return repr(tuple(self))  # as above
