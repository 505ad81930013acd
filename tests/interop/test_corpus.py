"""Pixels and sizes of each kind of image file, blobdir's against the SDK's."""

from __future__ import annotations

import io

import numpy as np
import pytest
import supervisely as sly
from corpus import KINDS

from blobdir.images import decode_image, shown_size

SAME = [what for what, kind in KINDS.items() if kind.off >= 0]


@pytest.mark.parametrize("what", SAME)
def test_pixels(what: str) -> None:
    data = KINDS[what].data
    theirs, ours = sly.image.read_bytes(data), decode_image(data)
    assert ours.shape == theirs.shape
    assert (ours.dtype.kind, ours.dtype.itemsize) == (theirs.dtype.kind, theirs.dtype.itemsize)
    assert np.abs(ours.astype(float) - theirs.astype(float)).max() == KINDS[what].off
    assert shown_size(io.BytesIO(data)) == theirs.shape[1::-1]
    assert ours.flags.writeable
    assert ours.flags.c_contiguous
