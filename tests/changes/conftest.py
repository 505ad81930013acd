"""Fixtures of the tests of changes."""

from __future__ import annotations

import fsspec
import pytest


@pytest.fixture
def bucket(request):
    """A place in memory."""
    name = f"kinds-{abs(hash(request.node.nodeid))}"
    yield f"memory://{name}"
    fs = fsspec.filesystem("memory")
    if fs.exists(f"/{name}"):
        fs.rm(f"/{name}", recursive=True)
