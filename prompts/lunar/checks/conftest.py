"""What the program as a whole finds in its folder: sample images of the reference, and settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SAMPLES = 40


@pytest.fixture(scope="session")
def sample_images(pytestconfig, reference, tmp_path_factory):
    """Return paths and bytes of separable images in five class folders, of a fresh seed."""
    folder = tmp_path_factory.mktemp("samples")
    seed = pytestconfig.option.challenge_seed
    reference("samples").create_sample_data(folder, SAMPLES, seed=seed, image_size=128)
    return {path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(Path(folder).rglob("*.png"))}  # fmt: skip


@pytest.fixture(scope="session")
def settings(fresh):
    """Return what is in the file that --config names."""
    return {"gamma": round(fresh("settings").uniform(1.1, 1.9), 3)}


@pytest.fixture(scope="session")
def pipeline_inputs(sample_images, settings):
    images = {f"images/{path}": data for path, data in sample_images.items()}
    return {**images, "settings.json": json.dumps(settings).encode()}
