"""Stores on a disk that forgets quickly."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

from blobdir import ImageStore


@pytest.fixture
def store(tmp_path):
    return ImageStore(tmp_path / "store")


@pytest.fixture(scope="session")
def png():
    """The bytes of a picture."""
    picture = BytesIO()
    Image.new("RGB", (8, 6)).save(picture, "PNG")
    return picture.getvalue()
