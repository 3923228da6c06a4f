"""What a model costs: the list that is shipped, or the user's own, and how names are matched."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from promptqueue.chat.config import Config, Price
from promptqueue.chat.endpoints import Endpoint
from promptqueue.chat.toml_file import load_toml

SHIPPED_PATH = Path(__file__).with_name("prices.toml")
PRICES_VARIABLE = "PROMPTQUEUE_PRICES"

_FREE = Price(input=0, output=0, cached=0)
_DATE = re.compile(r"[-@](?:\d{4}-\d{2}-\d{2}|\d{8})$")


class PriceFile(BaseModel):
    """A file of prices: `[prices."model"]` tables, as in the user's configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prices: Mapping[str, Price] = Field(default_factory=dict)


class Prices(Mapping[str, Price]):
    """Prices by the name of a model.

    A name is looked up as it is; else without a date at its end (`-2026-01-31`, `-20260131`,
    `@20260131`); else without what stands before its last `/`; else without both. The first of
    these that the list has decides.

    Args:
        known: prices by name.
        free: the endpoint takes no money, whatever the model is called.
    """

    def __init__(self, known: Mapping[str, Price], *, free: bool = False) -> None:
        self._known = dict(known)
        self._free = free

    def __getitem__(self, model: str) -> Price:
        if self._free:
            return _FREE
        for name in _names(model):
            if name in self._known:
                return self._known[name]
        raise KeyError(model)

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def load_prices(
    config: Config,
    endpoint: Endpoint,
    file: Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Prices:
    """Return the prices that hold for an endpoint; those of the configuration win, per model.

    Args:
        config: may hold prices.
        endpoint: the embedded one is free.
        file: replaces the list that is shipped, and the one that PROMPTQUEUE_PRICES names.
        environ: may hold PROMPTQUEUE_PRICES.

    Raises:
        UsageError: the file is missing, or not a list of prices; every problem is named.
    """
    named = environ.get(PRICES_VARIABLE)
    path = file or (Path(named) if named else SHIPPED_PATH)
    return Prices({**load_toml(path, PriceFile).prices, **config.prices}, free=endpoint.embedded)


def price_records(prices: Mapping[str, Price], models: Iterable[str]) -> dict[str, Any]:
    """Return what run.json keeps: the price of each model, under the name that is asked for.

    Without a name the endpoint's only model will be asked, which is not known yet: all are kept.
    """
    names = list(models) or list(prices)
    return {name: prices[name].model_dump() for name in dict.fromkeys(names) if name in prices}


def _names(model: str) -> Iterator[str]:
    bare = model.rpartition("/")[2]
    yield from (model, _DATE.sub("", model), bare, _DATE.sub("", bare))
