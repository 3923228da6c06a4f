"""Files lead to what they import, and to what that imports."""

from __future__ import annotations

import pytest

from promptqueue.run.imports import imported

TEXTS = {
    "main.py": "import json\nfrom model import Model\n",
    "model.py": "def build():\n    from parts.gate import Gate\n    return Gate\n",
    "parts/gate.py": "import main\n",
    "other.py": "def (:\n",
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("parts/gate.py", {"main.py", "model.py", "parts/gate.py"}),
        ("main.py", {"main.py", "model.py", "parts/gate.py"}),
        ("other.py", set()),
        ("gone.py", set()),
    ],
)
def test_files_lead_to_what_they_import(path: str, found: set[str]) -> None:
    assert imported([path], TEXTS) == found


@pytest.mark.parametrize(
    "text",
    ["import a.b", "import a.b as c", "from a import b", "from a.b import c", "from .a import b"],
)
def test_a_module_in_a_folder_is_found(text: str) -> None:
    assert imported(["m.py"], {"m.py": text, "a/b.py": ""}) == {"a/b.py"}
