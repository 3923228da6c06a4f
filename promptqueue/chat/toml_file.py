"""Reads the TOML files of the user: the configuration and lists of prices."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from promptqueue.chat.validation import keys_at, sentence, shown, unknown_key
from promptqueue.errors import UsageError

M = TypeVar("M", bound=BaseModel)

_TABLE = "a table (a line `[name]`, and lines of `key = value` below it)"
"""What TOML calls a mapping."""
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def load_toml(path: Path, model: type[M]) -> M:
    """Read a TOML file of the user.

    Raises:
        UsageError: it is missing, no TOML, or has unknown or wrong entries; all are listed.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist; name a file that does") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; name another file") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text; correct the file or remove it") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is not TOML: {error}; correct the file or remove it") from error
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = (f"{path}: {_toml_problem(detail, model)}" for detail in error.errors())
        raise UsageError("\n".join(problems)) from error


def _toml_problem(detail: ErrorDetails, model: type[BaseModel]) -> str:
    location = detail["loc"]
    if detail["type"] == "extra_forbidden":
        words = unknown_key(str(location[-1]), keys_at(model, location[:-1]))
    elif detail["type"] == "missing":
        words = "this key is missing; add it"
    elif detail["type"].startswith(("model", "mapping", "dict")):
        words = f"{_TABLE} is needed here, not {shown(detail['input'])}"
    else:
        words = sentence(detail)
    return f"{'.'.join(map(_toml_key, location))}: {words}"


def _toml_key(part: str | int) -> str:
    key = str(part)
    return key if _BARE_KEY.fullmatch(key) else f'"{key}"'
