"""Which functions an error may come of."""

from __future__ import annotations

import textwrap

import pytest

from promptqueue.run.suspects import feeding, lacks, place_of, places_of, without_super

TEXT = textwrap.dedent(
    """\
    class Part:
        def __init__(self, n):
            self.n = n

        def __call__(self, x):
            return x

    class Whole(Part):
        def __init__(self):
            super().__init__(1)
            self.part = Part(2)
            self.parts = [Part(3)]

        def own(self, x):
            return x

        def use(self, x):
            a = self.part(x)
            b, c = self.own(x), helper(x)
            d = a
            made = Part(4)
            if a + c:
                return d
            return str(x) + made

        def loop(self, x):
            for part in self.parts:
                x = part(x)
            return x

    def given(x, part, other=None):
        return part(x) + other(x)

    def giving(x):
        part = Part(5)
        return given(x, part, other=Whole())

    def helper(x):
        def inner(y):
            return y
        return inner(x)

    def again(x):
        return again(x[1:]) if x else helper(x)
    """
)


def line(words: str) -> int:
    return next(n for n, each in enumerate(TEXT.split("\n"), 1) if words in each)


@pytest.mark.parametrize(
    ("at", "fed"),
    [
        ("if a + c", {("__call__", "Part"), ("own", "Whole"), ("helper",)}),
        ("return d", set()),  # what a name was before it was another is too far away
        ("self.part(x)", {("__call__", "Part")}),
        ("+ made", {("__init__", "Part")}),
        ("x = part(x)", {("__call__", "Part")}),  # of a list, in a loop
        ("+ other(x)", {("__call__", "Part")}),  # an argument; Whole has none of its own
        ("return y", set()),
        ("return again", {("helper",)}),  # itself is no other
        ("self.n = n", set()),
        ("class Part", set()),
    ],
)
def test_those_whose_results_a_line_works_with_feed_it(at: str, fed: set[tuple[str, ...]]) -> None:
    assert {place.names for place in feeding(TEXT, line(at))} == fed


def test_a_place_is_a_function_at_the_top_or_a_method() -> None:
    for at, names in (("return y", ("helper",)), ("d = a", ("use", "Whole")), ("class Part", None)):
        place = place_of(TEXT, line(at))
        assert (place.names if place else None) == names
    assert place_of("def torn(:\n    pass\nx = = 1\n", 2) is None


def test_a_class_with_bases_that_never_calls_their_init_lacks_that() -> None:
    text = TEXT + textwrap.dedent(
        """\
        class Silent(Part):
            def __init__(self):
                self.n = 1

        class Old(Part):
            def __init__(self):
                Part.__init__(self, 1)

        class Plain(Part):
            pass
        """
    )
    assert [place.names for place in without_super(text)] == [("__init__", "Silent")]


@pytest.mark.parametrize(
    ("name", "said", "lacking"),
    [
        ("own", "`own` returns `y`, of any str", []),
        ("own", "`own` is other_helper(zip(x))", ["other_helper", "zip"]),
        ("use", "`use` reads self.parts, uses helper(x)", []),  # anywhere in the class
        ("use", "`use(x)` of Whole() uses helper", []),
        ("use", "Class `Whole`: `use` of a Whole is what x.lasts has", ["lasts"]),
        ("helper", "`helper` returns y", []),
    ],
)
def test_a_function_lacks_what_its_paragraph_names(
    name: str, said: str, lacking: list[str]
) -> None:
    (place,) = (each for each in places_of(TEXT) if each.function.name == name)
    assert lacks(place, said) == lacking


def test_a_key_is_a_name_that_is_written() -> None:
    (place,) = places_of('def main():\n    return {"best_f1": 1, "path/results.json": 2}\n')
    assert not lacks(place, "`main` writes results.json")
    assert lacks(place, "`main` writes results.yaml")


def test_what_is_nested_too_deeply_lacks_nothing() -> None:
    (place,) = places_of(f"def total(x):\n    return {' + '.join(['x'] * 1500)}\n")
    assert lacks(place, "`total(x)` is sum(x)") == []
