"""The JSON Schema of queue files, with what each key means: for editors, and as their reference."""

from __future__ import annotations

import ast
import inspect
import itertools
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from promptqueue.chat import question
from promptqueue.queue import model, verification


def queue_schema() -> dict[str, Any]:
    """Return the JSON Schema of the queue file."""
    schema = model.Queue.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "promptqueue queue file"
    kinds = {**schema["$defs"], model.Queue.__name__: schema}
    for module in (model, verification, question):
        for kind, field, text in _meanings(module):
            if kind in kinds:
                key = getattr(module, kind).model_fields[field].alias or field
                kinds[kind]["properties"][key]["description"] = text
    return schema


def _meanings(module: ModuleType) -> Iterator[tuple[str, str, str]]:
    """Yield class, field and meaning of each field with a string below it.

    pydantic reads them as well (`use_attribute_docstrings`), but whenever a class is made: every
    command would pay for it.
    """
    for kind in ast.parse(inspect.getsource(module)).body:
        if isinstance(kind, ast.ClassDef):
            for field, below in itertools.pairwise(kind.body):
                match field, below:
                    case (
                        ast.AnnAssign(target=ast.Name(id=name)),
                        ast.Expr(value=ast.Constant(value=str(text))),
                    ):
                        yield kind.name, name, " ".join(text.split())
