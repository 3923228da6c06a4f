"""How the optional parts of this package are added to the environment that it runs in."""

from __future__ import annotations

import json
import os
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

PACKAGE = "promptqueue-conveyor"


def install_command(*extras: str) -> str:
    """Return the command that adds extras: to this interpreter, from where the package came."""
    python = shlex.quote(_short(sys.executable))
    pip = f"{python} -m pip install" if find_spec("pip") else f"uv pip install --python {python}"
    return f"{pip} {_source(','.join(extras))}"


def _source(extras: str) -> str:
    """Return what pip is asked for; source: the record of the installation (PEP 610)."""
    from importlib import metadata  # slow, and seldom asked for

    try:
        told = metadata.distribution(PACKAGE).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        told = None
    origin = json.loads(told) if told else {}
    if "dir_info" not in origin:
        return shlex.quote(f"{PACKAGE}[{extras}]")
    folder = shlex.quote(f"{_short(unquote(urlsplit(origin['url']).path))}[{extras}]")
    return f"-e {folder}" if origin["dir_info"].get("editable") else folder


def _short(path: str) -> str:
    """Return a path as one would type it from here."""
    here = Path.cwd()
    return os.path.relpath(path, here) if Path(path).is_relative_to(here) else path
