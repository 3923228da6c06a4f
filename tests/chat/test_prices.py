"""The shipped list of prices, and how the names of models are matched."""

from __future__ import annotations

import pytest

from promptqueue.chat.config import Config, Price, Profile
from promptqueue.chat.endpoints import Endpoint
from promptqueue.chat.prices import Prices, load_prices, price_records

PAID = Endpoint("url", "", Profile(base_url="http://h/v1"))


def priced(usd: float) -> Price:
    return Price(input=usd, output=usd)


@pytest.mark.parametrize(
    ("known", "model", "found"),
    [
        (["m"], "m", "m"),
        (["m", "m-2026-01-31"], "m-2026-01-31", "m-2026-01-31"),
        (["m"], "m-2026-01-31", "m"),
        (["m"], "m-20260131", "m"),
        (["m"], "m@20260131", "m"),
        (["m"], "vendor/m", "m"),
        (["m"], "eu/vendor/m-2026-01-31", "m"),
        (["m", "vendor/m"], "vendor/m", "vendor/m"),
        (["m", "vendor/m"], "vendor/m-20260131", "vendor/m"),
        (["m"], "m-mini", None),
        (["m-mini"], "m", None),
        (["vendor/m"], "m", None),
        (["m"], "m:free", None),
        (["m"], "M", None),
    ],
)
def test_a_name_is_matched_exactly_then_without_date_then_without_vendor(
    known: list[str], model: str, found: str | None
) -> None:
    prices = Prices({name: priced(number) for number, name in enumerate(known)})
    assert prices.get(model) == (priced(known.index(found)) if found else None)


def test_the_embedded_model_is_free_whatever_its_name() -> None:
    prices = load_prices(Config(prices={"m": priced(9)}), Endpoint("embedded", ""), environ={})
    assert prices["m"].of(1000, 1000, 0) == 0
    assert prices["anything"].of(1000, 1000, 0) == 0


def test_the_shipped_list_can_be_read_and_knows_no_price_of_nothing() -> None:
    shipped = load_prices(Config(), PAID, environ={})
    assert shipped
    assert all(price.input > 0 and price.output >= price.input for price in shipped.values())
    assert all((price.cached or 0) < price.input for price in shipped.values())


def test_records_hold_what_is_named_or_all() -> None:
    prices = Prices({"a": priced(1), "b": priced(2)})
    assert list(price_records(prices, ["v/a", "c"])) == ["v/a"]
    assert list(price_records(prices, [])) == ["a", "b"]
