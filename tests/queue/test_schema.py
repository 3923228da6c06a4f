"""The published JSON Schema says what `load_queue` takes, so that editors can complete it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from promptqueue.queue.model import Queue
from promptqueue.queue.schema import queue_schema

PROMPTS = Path(__file__).parents[2] / "prompts"
SCHEMA = queue_schema()
# By hand, from DESIGN.md (The queue file) and the README of the parameters of a call.
KEYS = {
    "": "promptqueue name reference role inputs endpoint defaults limits verify steps",
    "Step": "id title template data task answer_format outputs requirements checks context refine "
    "model params",
    "Output": "path symbols parts",
    "Input": "type default choices min max description",
    "Limits": "calls tokens wall usd",
    "Verification": "preload question limits pipeline",
    "SandboxLimits": "wall cpu memory_mib processes disk_mib files output_mib",
    "Pipeline": "command files wall",
    "Refine": "turns samples on_red escalate",
    "Defaults": "model params context refine",
    "ContextEntry": "step as",
    "Text": "text",
    "Params": "temperature top_p max_tokens seed stop frequency_penalty presence_penalty "
    "reasoning_effort extra",
}
REQUIRED = {
    "": ["promptqueue", "name", "steps"],
    "Step": ["id", "outputs"],
    "Output": ["path"],
    "Input": ["type"],
    "ContextEntry": ["step"],
    "Text": ["text"],
    "Pipeline": ["command"],
}


def definition(name: str) -> dict[str, Any]:
    return SCHEMA["$defs"][name] if name else SCHEMA


@pytest.mark.parametrize("name", KEYS, ids=lambda name: name or "Queue")
def test_every_mapping_lists_its_keys_and_takes_no_others(name: str):
    found = definition(name)

    assert set(found["properties"]) == set(KEYS[name].split())
    assert found["additionalProperties"] is False
    assert found.get("required", []) == REQUIRED.get(name, [])


def test_no_mapping_is_left_out_of_the_table():
    assert {"", *SCHEMA["$defs"]} == set(KEYS)


@pytest.mark.parametrize("name", KEYS, ids=lambda name: name or "Queue")
def test_every_key_says_what_it_means(name: str):
    told = {key: part.get("description") for key, part in definition(name)["properties"].items()}

    assert [key for key, text in told.items() if not text] == []


def test_a_key_is_described_by_the_name_that_a_queue_file_gives_it():
    assert (
        "Wall time of one sandbox"
        in definition("SandboxLimits")["properties"]["wall"]["description"]
    )


def test_says_which_draft_it_is_written_in():
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_names_the_forms_of_context():
    entry = definition("ContextEntry")["properties"]["as"]
    rule = next(
        branch for branch in definition("Defaults")["properties"]["context"]["oneOf"]
        if "enum" in branch
    )  # fmt: skip

    assert entry["enum"] == ["reply", "files", "interface"]
    assert rule["enum"] == ["all", "none", "last", "on", "off", True, False]


@pytest.mark.parametrize("path", sorted(PROMPTS.glob("*.yaml")), ids=lambda path: path.name)
def test_the_queues_of_this_repository_fit(path: Path):
    assert list(problems(yaml.safe_load(path.read_text("utf-8")), SCHEMA)) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"nmae": 1}, "nmae is unknown"),
        ({"limits": {"call": 1}}, "call is unknown"),
        ({"steps": [{"id": "a", "outputs": [{"path": "a", "symbol": []}]}]}, "symbol is unknown"),
        ({"steps": [{"id": "a"}]}, "outputs is missing"),
        ({"steps": []}, "[] is too short"),
        ({"name": 5}, "5 is no string"),
        ({"promptqueue": 2}, "2 is not 1"),
        ({"role": {"txt": "x"}}, "{'txt': 'x'} fits nothing"),
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(change: dict[str, Any], problem: str):
    queue = {
        "promptqueue": 1,
        "name": "q",
        "steps": [{"id": "a", "task": "x", "outputs": [{"path": "a.py"}]}],
    }

    assert list(problems(queue, SCHEMA)) == []
    assert list(problems(queue | change, SCHEMA)) == [problem]
    Queue.model_validate(queue)
    with pytest.raises(ValidationError):
        Queue.model_validate(queue | change)


def test_the_published_schema_is_up_to_date():
    path = PROMPTS / "queue.schema.json"
    way_out = "write it with `promptqueue schema > prompts/queue.schema.json`"

    assert path.is_file(), f"{path} is missing; {way_out}"
    assert json.loads(path.read_text("utf-8")) == SCHEMA, f"{path} is out of date; {way_out}"


KINDS = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}


def problems(value: Any, schema: dict[str, Any]) -> Iterator[str]:
    """Validate with the few words of JSON Schema that our schema uses; jsonschema is not here."""
    schema = SCHEMA["$defs"].get(schema.get("$ref", "").rpartition("/")[2], schema)
    branches = schema.get("anyOf") or schema.get("oneOf")
    if branches:
        if all(any(problems(value, branch)) for branch in branches):
            yield f"{value} fits nothing"
        return
    kind = schema.get("type")
    if kind and not any(is_of(value, one) for one in ([kind] if isinstance(kind, str) else kind)):
        yield f"{value!r} is no {kind}"
    elif "const" in schema and value != schema["const"]:
        yield f"{value!r} is not {schema['const']}"
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{value!r} is none of {schema['enum']}"
    elif isinstance(value, dict):
        yield from problems_of_mapping(value, schema)
    elif isinstance(value, list):
        yield from problems_of_list(value, schema)


def is_of(value: Any, kind: str) -> bool:
    return isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))


def problems_of_list(value: list[Any], schema: dict[str, Any]) -> Iterator[str]:
    if len(value) < schema.get("minItems", 0):
        yield f"{value!r} is too short"
    for item in value:
        yield from problems(item, schema.get("items", {}))


def problems_of_mapping(value: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    known = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    yield from (f"{key} is missing" for key in schema.get("required", []) if key not in value)
    for key, item in value.items():
        if key in known:
            yield from problems(item, known[key])
        elif others is False:
            yield f"{key} is unknown"
        elif others is not True:
            yield from problems(item, others)
