from __future__ import annotations

from collections.abc import Iterator

import pytest

from promptqueue.compare import cluster, conduct
from tests.compare import here
from tests.fake_endpoint import FakeEndpoint


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEndpoint]:
    """An endpoint whose samples nobody judges."""
    for module in (conduct, cluster):
        monkeypatch.setattr(module, "judge", here.judged)
    with FakeEndpoint() as fake:
        yield fake
