"""Masks of annotations, however they are stored: drawing, converting and verifying read the same pixels."""

from __future__ import annotations

import mask_kinds
import numpy as np
import pytest

from blobdir.drawing.palette import ClassLook
from blobdir.drawing.shapes import ShapeError, read_shape
from blobdir.labels.model import LabelError
from blobdir.labels.supervisely import shapes_of
from blobdir.verifying.bitmaps import pixels_fault

SHAPES = ("bitmap", "alpha_mask")


def item_of(shape, kind, packed):
    data = mask_kinds.stored(kind, packed=packed)
    return {"bitmap": {"data": data, "origin": [-0.3, 4.7]}, "geometryType": shape, "classTitle": "x"}


def drawn(item):
    try:
        mask = read_shape(item, ClassLook((1, 2, 3))).mask
    except ShapeError:
        return None
    return np.asarray(mask.image), mask.x, mask.y


@pytest.mark.parametrize("kind", mask_kinds.KINDS)
@pytest.mark.parametrize("packed", [True, False], ids=["deflated", "as it is"])
@pytest.mark.parametrize("shape", SHAPES)
def test_all_read_the_same(shape, packed, kind):
    item = item_of(shape, kind, packed)
    found = drawn(item)
    if found is None:
        assert pixels_fault(shape, item["bitmap"]["data"])
        with pytest.raises(LabelError, match="a mask without pixels"):
            shapes_of(item, shape)
        return
    pixels, x, y = found
    (written,) = shapes_of(item, shape)
    assert (written.left, written.top) == (x, y)
    assert np.array_equal(written.pixels, pixels > 0)


@pytest.mark.parametrize(
    ("shape", "packed", "kind", "place", "total"),
    [
        ("alpha_mask", True, "white in alpha", (-1, 4), 120 * 255),  # how bright it is
        ("alpha_mask", True, "white, opaque", (2, 6), 24 * 255),
        ("alpha_mask", True, "colours", (2, 6), 23 * 255 + 158),
        ("alpha_mask", False, "indexes the other way", (2, 6), 24),  # the indexes themselves
        ("bitmap", True, "white in alpha", (2, 6), 24 * 255),  # its alpha
        ("bitmap", True, "gray, white transparent", (2, 6), 24 * 255),
        ("bitmap", False, "white in alpha", (-1, 4), 120 * 255),  # any channel
        ("bitmap", False, "white and alpha", (-1, 4), 120 * 255),
    ],
)
def test_what_counts_of_a_mask(shape, packed, kind, place, total):
    pixels, *at = drawn(item_of(shape, kind, packed))
    assert (*at, int(pixels.sum())) == (*place, total)


@pytest.mark.parametrize("kind", ["black in alpha", "16 bits, all low"])
def test_a_mask_that_is_dark_all_over_is_empty(kind):
    item = item_of("alpha_mask", kind, packed=True)
    assert drawn(item) is None and pixels_fault("alpha_mask", item["bitmap"]["data"]) == "are all empty"
