"""Where something new may stand in a module, so that each name is bound before it is read."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from promptqueue.queue.interface import Definition
from promptqueue.run.guards import Import, guards
from promptqueue.run.units import Constant, Named, Scope, names_read, span
from promptqueue.verify.lint import names_bound


class Replacement(NamedTuple):
    """What takes the place of what: a statement each, behind its overloads if such were sent."""

    was: Sequence[ast.stmt]
    now: Sequence[ast.stmt]

    @property
    def place(self) -> int:
        """Return the place before it."""
        return start_of(self.was[0])


class Places:
    """The lines behind which statements of one scope may go into another, counted from 0."""

    def __init__(self, old: Scope, new: Scope, replaced: Sequence[Replacement]) -> None:
        """Take note of what binds and reads which names when the module is imported."""
        self._replaced = replaced
        self._bound = {name: span(node)[1] for node in old.body for name in names_bound([node])}
        self._needs = _needs(new)
        gone = {node for each in replaced for node in each.was}
        self._reads = [(start_of(n), names_read(n)) for n in old.body if n not in gone]
        self._reads += [(each.place, self._needs[node]) for each in replaced for node in each.now]
        lasting = {*guards(old).values(), *(n for n in old.body if isinstance(n, Named | Import))}
        self._ends = {span(node)[1] for node in lasting}

    def is_behind(self, place: int) -> bool:
        """Tell whether a definition, constant or import ends there."""
        return place in self._ends

    def take(self, nodes: Sequence[ast.stmt]) -> int:
        """Return the place of something new; what comes next knows that it stands there.

        It is before the definitions that are replaced, if that is behind what it needs and before
        what needs it.
        What has to stand behind something that is replaced goes to the end, where that allows it:
        if it calls that, it needs all the rest, too.
        """
        names = names_bound(nodes)
        first = self._behind(names.union(*(self._needs[node] for node in nodes)))
        last = self._before(names)
        usual = min(self._usual(nodes[-1]), last)
        place = usual if usual >= first else last if last >= first else max(first, *self._ends)
        self._bound |= dict.fromkeys(names, place)
        return place

    def _behind(self, names: Iterable[str]) -> int:
        """Return where all these names are bound."""
        return max((self._bound.get(name, 0) for name in names), default=0)

    def _before(self, names: frozenset[str]) -> int:
        """Return where one of these names is first read, or the end."""
        places = [place for place, read in self._reads if names & read]
        return min(places, default=max(self._ends))

    def _usual(self, node: ast.stmt) -> int:
        """Return a place before the definitions that are replaced, but behind the constants."""
        if places := [r.place for r in self._replaced if isinstance(r.was[-1], Definition)]:
            return min(places)
        ends = [span(each.was[-1])[1] for each in self._replaced if isinstance(node, Constant)]
        return max(ends, default=max(self._ends))


def after_imports(scope: Scope) -> int:
    """Return the place for another import, behind the docstring and the others."""
    ends = [span(node)[1] for node in scope.body if isinstance(node, Import)]
    return max([*ends, after_docstring(scope)])


def after_docstring(scope: Scope) -> int:
    """Return the place behind the docstring, or the start of the file."""
    return span(scope.body[0])[1] if ast.get_docstring(scope) is not None else 0


def start_of(node: ast.stmt) -> int:
    """Return the place before a statement and its decorators."""
    return span(node)[0] - 1


def _needs(scope: Scope) -> dict[ast.stmt, frozenset[str]]:
    """Return what each statement reads at import, by itself or by what it reads of those before."""
    needs, of_name = dict[ast.stmt, frozenset[str]](), dict[str, frozenset[str]]()
    for node in scope.body:
        read = names_read(node)
        needs[node] = read.union(*(of_name.get(name, ()) for name in read))
        of_name |= dict.fromkeys(names_bound([node]), needs[node])
    return needs
