"""What is warm is shared by those who judge at once, and ends with the last of them."""

from __future__ import annotations

import pytest

from promptqueue.run import pool
from promptqueue.run.pool import WarmPool
from promptqueue.verify.warm import WarmPytest


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[WarmPytest]:
    """Collect those that are ended; there are two places."""
    ended: list[WarmPytest] = []
    monkeypatch.setattr(WarmPytest, "close", lambda warm: ended.append(warm))
    monkeypatch.setattr(pool, "MOST", 2)
    return ended


def test_one_that_waits_serves_the_next_and_ends_with_the_last_who_joined(
    closed: list[WarmPytest],
) -> None:
    warm = WarmPool()
    warm.join()
    warm.join()
    with warm.lent(["torch"]) as first:
        pass
    warm.leave()
    with warm.lent(["torch"]) as second:
        pass

    assert second is first
    assert closed == []
    warm.leave()
    assert closed == [first]


def test_who_judges_at_once_has_one_each(closed: list[WarmPytest]) -> None:
    warm = WarmPool()
    warm.join()
    with warm.lent(["torch"]) as one, warm.lent(["torch"]) as other:
        assert one is not other

    warm.leave()
    assert {*map(id, closed)} == {id(one), id(other)}


def test_one_with_other_modules_makes_room_only_where_there_is_none(
    closed: list[WarmPytest],
) -> None:
    warm = WarmPool()
    warm.join()
    with warm.lent(["torch"]) as one:
        pass
    with warm.lent(["numpy"]) as other:
        pass
    assert other.preload == ("numpy",)
    assert closed == []

    with warm.lent(["json"]):
        assert closed == [one]
        with warm.lent(["numpy"]) as again:
            assert again is other


def test_one_whose_verdict_failed_comes_back(closed: list[WarmPytest]) -> None:
    warm = WarmPool()
    warm.join()
    with pytest.raises(KeyboardInterrupt), warm.lent([]) as one:
        raise KeyboardInterrupt

    with warm.lent([]) as again:
        assert again is one
    assert closed == []
