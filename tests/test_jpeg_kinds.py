"""JPEG with what its pixels don't need, damaged or in large numbers. Against the SDK: ``tests/interop``."""

from __future__ import annotations

import io
import time

import jpeg_kinds
import numpy as np
import pytest
from odd_images import HEIGHT, PREFIX, TURNED, WIDTH

from blobdir.errors import ImageError
from blobdir.images import decode_image, shown_size, stored_size


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("picture", jpeg_kinds.PICTURES)
@pytest.mark.parametrize("what", jpeg_kinds.NOT_NEEDED)
def test_what_pixels_do_not_need(what, picture, turned, late):
    data = jpeg_kinds.with_segment(what, picture, turned=turned, late=late)
    wanted = decode_image(jpeg_kinds.PICTURES[picture])
    np.testing.assert_array_equal(decode_image(data), np.rot90(wanted, -1) if turned else wanted)
    assert shown_size(io.BytesIO(data)) == ((HEIGHT, WIDTH) if turned else (WIDTH, HEIGHT))
    assert stored_size(data) == (WIDTH, HEIGHT)


@pytest.mark.parametrize(
    "many",
    [
        jpeg_kinds.segment(0xE1, PREFIX) * 200_000,
        jpeg_kinds.segment(0xFE, b"") * 200_000,
        b"\xff" * 9_000_000,
        b"\xff\0\0" * 3_000_000,
        (b"\xff" + b"\0" * 8 + jpeg_kinds.segment(0xFE, b"")) * 200_000,
    ],
    ids=["EXIF", "comments", "fill bytes", "what isn't a segment", "in turn"],
)
def test_time_does_not_grow_with_what_stands_there(many):
    data, before = jpeg_kinds.PICTURES["RGB"], time.process_time()
    data = data[:2] + many + data[2:]
    assert shown_size(io.BytesIO(data)) == (WIDTH, HEIGHT)
    assert decode_image(data).shape == (HEIGHT, WIDTH, 3)
    assert time.process_time() - before < 12


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6, 19, 20, 100])
def test_ends_in_front_of_its_pixels(size):
    data = jpeg_kinds.PICTURES["RGB"][:size]
    for read in (decode_image, lambda data: shown_size(io.BytesIO(data))):
        with pytest.raises(ImageError):
            read(data)


@pytest.mark.parametrize(("at", "size"), [(1, b"\0\0"), (3, b"\0\0")], ids=["height", "width"])
def test_says_that_it_has_no_pixels(at, size):
    data = bytearray(jpeg_kinds.PICTURES["RGB"])
    place = data.index(b"\xff\xc0\0\x11") + 4 + at
    data[place : place + 2] = size
    with pytest.raises(ImageError, match="doesn't say how wide and high it is"):
        shown_size(io.BytesIO(data))


def test_size_of_samples_that_are_not_decoded():
    data = bytearray(jpeg_kinds.PICTURES["RGB"])
    data[data.index(b"\xff\xc0\0\x11") + 4] = 12
    turned = data[:2] + jpeg_kinds.segment(0xE1, PREFIX + TURNED) + data[2:]
    assert shown_size(io.BytesIO(data)) == (WIDTH, HEIGHT)
    assert shown_size(io.BytesIO(turned)) == (HEIGHT, WIDTH)
    with pytest.raises(ImageError, match="12-bit"):
        decode_image(bytes(data))
