"""An import goes into a file that may have it already, and either of the two may be guarded."""

from __future__ import annotations

import pytest

from promptqueue.run.splice import spliced

FUNCTIONS = "\n\n\ndef f(): ...\n\n\ndef g(): ...\n"
PLAIN = "import json"
TRIED = "try:\n    import json\nexcept ImportError:\n    json = None"
EITHER = "if FLAG:\n    import json\nelse:\n    import simplejson as json"
PERHAPS = "if FLAG:\n    import json\nelse:\n    FAST = 1"
TYPES = "if TYPE_CHECKING:\n    import json"


@pytest.mark.parametrize(
    ("there", "sent", "expected"),
    [
        pytest.param(TRIED, PLAIN, TRIED, id="plain, where the file can do without"),
        pytest.param(PLAIN, TRIED, PLAIN, id="tried, where the file cannot do without"),
        pytest.param(TRIED, TRIED, TRIED, id="tried in both"),
        pytest.param("import os", TRIED, f"import os\n\n\n{TRIED}", id="tried, and not there"),
        pytest.param(
            TRIED, TRIED.replace("None", "0"), TRIED.replace("None", "0"), id="otherwise in both"
        ),
        pytest.param(PLAIN, TYPES, PLAIN, id="for types, and there"),
        pytest.param(TRIED, TYPES, TRIED, id="for types, and tried there"),
        pytest.param(TYPES, TYPES, TYPES, id="for types in both"),
        pytest.param(
            f"import os\n{TYPES}",
            PLAIN,
            f"import os\nimport json\n{TYPES}",
            id="only for types there",
        ),
        pytest.param(EITHER, PLAIN, EITHER, id="plain, where each branch has one"),
        pytest.param(
            f"import os\n{PERHAPS}",
            PLAIN,
            f"import os\nimport json\n{PERHAPS}",
            id="plain, where only one branch has one",
        ),
        pytest.param(TYPES, TRIED, f"{TYPES}\n\n\n{TRIED}", id="tried, only for types there"),
        pytest.param(
            "from os import path, sep",
            "from os import sep, linesep",
            "from os import path, sep\nfrom os import linesep",
            id="one of several",
        ),
        pytest.param(
            '"""A file."""\nimport os',
            "from __future__ import annotations",
            '"""A file."""\nfrom __future__ import annotations\nimport os',
            id="from the future",
        ),
    ],
)
def test_an_import_is_there_once_however_it_is_guarded(
    there: str, sent: str, expected: str
) -> None:
    mended = spliced(there + FUNCTIONS, f"{sent}\n\n\ndef f(): return json\n")

    assert mended == (expected + FUNCTIONS).replace("def f(): ...", "def f(): return json")


def test_what_the_main_guard_imports_is_not_there_for_others() -> None:
    guard = "\n\nif __name__ == '__main__':\n    import json\n    code = f(json)\n"
    whole = f"import os{FUNCTIONS}{guard}"

    mended = spliced(whole, f"import json\n\ndef f(): return json\n{guard.replace('f(', 'g(')}")

    assert mended == whole.replace("os", "os\nimport json", 1).replace("...", "return json", 1)
