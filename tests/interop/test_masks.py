"""Masks of annotations, however they are stored: what is drawn, counted and converted is what the SDK reads."""

from __future__ import annotations

import mask_kinds
import numpy as np
import pytest
import supervisely as sly

from blobdir.drawing.palette import ClassLook
from blobdir.drawing.shapes import read_shape
from blobdir.labels.supervisely import shapes_of
from blobdir.verifying.bitmaps import pixels_fault

OF_SDK = {"bitmap": sly.Bitmap, "alpha_mask": sly.AlphaMask}
X, Y = 5, 7


def whole(mask, x, y):
    found = np.zeros((40, 40), np.uint8)
    found[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    return found


@pytest.mark.parametrize("kind", mask_kinds.KINDS)
@pytest.mark.parametrize("packed", [True, False], ids=["deflated", "as it is"])
@pytest.mark.parametrize("shape", OF_SDK)
def test_masks(shape, packed, kind):
    data = mask_kinds.stored(kind, packed=packed)
    item = {"bitmap": {"data": data, "origin": [X + 0.7, Y + 0.2]}, "geometryType": shape, "classTitle": "x"}
    try:
        real = OF_SDK[shape].from_json(item)
    except Exception:
        assert pixels_fault(shape, data)
        return
    assert not pixels_fault(shape, data)
    pixels = real.data.astype(np.uint8) * 255 if real.data.dtype == bool else real.data
    expected = whole(pixels, real.origin.col, real.origin.row)
    drawn = read_shape(item, ClassLook((1, 2, 3), shape)).mask
    assert np.array_equal(whole(np.asarray(drawn.image), drawn.x, drawn.y), expected)
    (written,) = shapes_of(item, shape)
    assert np.array_equal(whole(written.pixels, written.left, written.top), expected > 0)
