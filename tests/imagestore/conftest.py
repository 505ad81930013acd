"""Stores on a disk that forgets quickly."""

from __future__ import annotations

import pytest

from blobdir import ImageStore


@pytest.fixture
def store(tmp_path):
    return ImageStore(tmp_path / "store")
