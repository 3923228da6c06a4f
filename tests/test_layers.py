"""The house has one direction: each wing imports only from those above it in this list."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "promptqueue"
WINGS = ["errors", "words", "extras", "chat", "queue", "verify", "run", "compare", "reports"]
WINGS += ["api", "cli"]
"""From the ground up; .github/CONTRIBUTING.md tells it to people."""
ROOMS = {  # a heavy library and the only places that import it
    "openai": {"chat/transport.py"},
    "httpx2": {"chat/transport.py"},
    "jinja2": {
        *("queue/templates.py", "queue/template_reader.py", "queue/template_review.py"),
        *("queue/template_variables.py", "queue/printed.py", "queue/review.py"),
        *("queue/render.py", "queue/load.py"),
        "compare/monolith.py",
    },
    "yaml": {"queue/document.py", "verify/lint.py", "cli/complete.py"},
    "typer": {
        *("cli/app.py", "cli/options.py", "cli/run_commands.py", "cli/queue_commands.py"),
        *("cli/steering_commands.py", "cli/past_commands.py", "cli/doctor_command.py"),
        *("cli/complete.py", "cli/verify_command.py", "cli/compare_command.py"),
    },
    "pytest": {
        *("verify/plugin.py", "verify/findings.py"),
        *("verify/builtin/import_check.py", "verify/builtin/pipeline_check.py"),
    },
    "safetensors": {"verify/wire.py"},
    "numpy": {"verify/wire.py", "compare/statistics.py"},
    "scipy": {"compare/statistics.py"},
    "ray": {"compare/cluster.py"},
    "matplotlib": {"reports/picture.py"},
    "rich": {"cli/live.py"},
    "xllamacpp": {"chat/llama_server.py"},
    "torch": set(),
}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)  # maybe modules


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def wing_of(dotted: str) -> int:
    parts = dotted.split(".")
    return WINGS.index(parts[1]) if len(parts) > 1 and parts[1] in WINGS else -1


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_a_module_imports_only_from_its_wing_and_those_above_it(path: Path) -> None:
    here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if here == "__init__":
        assert {name.split(".")[0] for name in imports(path)} <= {"__future__"}
        return
    here = {"__main__": "cli"}.get(here, here)
    for name in imports(path):
        if name.split(".")[0] == "promptqueue":
            assert wing_of(name) <= WINGS.index(here), f"{path} imports {name}"


def test_no_two_modules_import_each_other_in_a_circle() -> None:
    graph = {
        "promptqueue." + ".".join(p.relative_to(PACKAGE).with_suffix("").parts): set(imports(p))
        for p in modules()
    }
    visiting: list[str] = []
    done: set[str] = set()

    def visit(name: str) -> None:
        assert name not in visiting, " → ".join([*visiting, name])
        if name in done or name not in graph:
            return
        visiting.append(name)
        for other in sorted(graph[name]):
            visit(other)
        visiting.pop()
        done.add(name)

    for name in graph:
        visit(name)


@pytest.mark.parametrize("library", ROOMS)
def test_a_heavy_library_is_imported_in_its_room_only(library: str) -> None:
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in modules()
        if any(name.split(".")[0] == library for name in imports(path))
    }
    assert found == ROOMS[library]
