"""Where a user's configuration and caches lie; light, since completion asks for it at every Tab."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def config_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the user's configuration lies, whether it exists or not."""
    if named := environ.get("PROMPTQUEUE_CONFIG"):
        return Path(named)
    from platformdirs import user_config_path

    return user_config_path("promptqueue") / "config.toml"


def find_cache_dir() -> Path:
    """Return PROMPTQUEUE_CACHE, or what this system uses for a user's caches."""
    if given := os.environ.get("PROMPTQUEUE_CACHE"):
        return Path(given).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("promptqueue")
