"""`decode_image` on images whose pixels are known. Against the SDK: ``tests/interop/test_images.py``."""

from __future__ import annotations

import io
import pickle
import time
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import bmp_kinds
import numpy as np
import pytest
import tiff_kinds
from PIL import Image, ImageFile

from blobdir import images, tiffs
from blobdir.errors import ImageError
from blobdir.images import decode_image

#: Rows and columns 2 × 3, each pixel its own colour.
PIXELS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[1, 2, 3], [40, 50, 60], [200, 100, 0]]], np.uint8)


def save(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


@pytest.fixture(params=[False, True], ids=["strict Pillow", "lenient Pillow"])
def pillow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both states of the switch that the SDK flips for the whole process."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", request.param)


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, PIXELS),
        (2, np.fliplr(PIXELS)),
        (3, np.rot90(PIXELS, 2)),
        (4, np.flipud(PIXELS)),
        (5, PIXELS.transpose(1, 0, 2)),
        (6, np.rot90(PIXELS, -1)),
        (7, np.rot90(PIXELS, 2).transpose(1, 0, 2)),
        (8, np.rot90(PIXELS, 1)),
    ],
)
@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_orientation(kind: str, options: dict[str, Any], orientation: int, expected: np.ndarray) -> None:
    data = save(PIXELS, kind, exif=exif(orientation), **options)
    np.testing.assert_array_equal(decode_image(data), expected, strict=True)
    np.testing.assert_array_equal(decode_image(data, keep_alpha=True), PIXELS, strict=True)


def test_alpha() -> None:
    rgba = np.dstack([PIXELS, np.array([[0, 1, 2], [128, 254, 255]], np.uint8)])
    np.testing.assert_array_equal(decode_image(save(rgba, "PNG"), keep_alpha=True), rgba, strict=True)
    np.testing.assert_array_equal(decode_image(save(rgba, "PNG")), PIXELS, strict=True)


def test_sixteen_bit_gray_keeps_the_high_byte() -> None:
    gray = np.array([[0, 255, 256, 0x7FFF, 0xFFFF]], np.uint16)
    assert decode_image(save(gray, "PNG"))[:, :, 0].tolist() == [[0, 0, 1, 0x7F, 0xFF]]


@pytest.mark.parametrize("keep_alpha", [False, True])
def test_result_is_the_callers_own(keep_alpha: bool) -> None:
    pixels = decode_image(save(PIXELS, "BMP"), keep_alpha=keep_alpha)
    pixels[:] = 0
    assert pixels.flags.c_contiguous
    assert pixels.flags.owndata


@pytest.mark.usefixtures("pillow")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF"])
def test_truncated(kind: str) -> None:
    data = save(np.random.default_rng(1).integers(0, 256, (40, 50, 3), dtype=np.uint8), kind)
    assert decode_image(data).shape == (40, 50, 3)
    for size in (1, 10, 100, len(data) // 2, len(data) - 20):
        with pytest.raises(ImageError, match="img 1") as info:
            decode_image(data[:size], name="img 1")
        assert isinstance(info.value, ValueError)


@pytest.mark.usefixtures("pillow")
def test_damaged_png() -> None:
    data = bytearray(save(PIXELS, "PNG"))
    data[50] ^= 1
    with pytest.raises(ImageError, match=r"^can't decode image 'x\.png': the checksum of the PNG chunk at byte 33 "):
        decode_image(bytes(data), name="x.png")


def test_png_that_is_looked_through_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose last row is black: what isn't uncompressed at once isn't copied again and again."""
    pixels = np.random.default_rng(1).integers(0, 256, (2500, 2500, 3), np.uint8)
    pixels[-1] = 0
    data, given = save(pixels, "PNG", compress_level=1), 0

    class Counting:
        def __init__(self) -> None:
            self._stream = zlib.decompressobj()

        def decompress(self, data: bytes, most: int) -> bytes:
            nonlocal given
            given += len(data)
            return self._stream.decompress(data, most)

        @property
        def unconsumed_tail(self) -> bytes:
            return self._stream.unconsumed_tail

    monkeypatch.setattr("blobdir.pngs.zlib", SimpleNamespace(decompressobj=Counting, crc32=zlib.crc32))
    assert np.array_equal(decode_image(data), pixels)
    assert len(data) * 0.9 < given < 2 * len(data)


@pytest.mark.parametrize("data", [b"", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_not_an_image(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"^can't decode image: it is"):
        decode_image(data)


def test_too_many_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2)
    with pytest.raises(ImageError, match=r"it has 6 pixels, and 4 are the most; --max-pixels raises that .*MAX_IMAGE"):
        decode_image(save(PIXELS, "PNG"))


def test_error_survives_pickling() -> None:
    with pytest.raises(ImageError) as info:
        decode_image(b"", name="x")
    assert str(pickle.loads(pickle.dumps(info.value))) == str(info.value)


def test_threads() -> None:
    files = [save(np.full((30, 30, 3), i, np.uint8), kind) for i in range(40) for kind in ("PNG", "BMP", "TIFF")]
    with ThreadPoolExecutor(8) as pool:
        assert [int(p.max()) for p in pool.map(decode_image, files * 5)] == [i // 3 for i in range(120)] * 5


def large(kind: str, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A picture of 1.4 million pixels."""
    side = 1200
    if kind == "TIFF of 16 bits":
        monkeypatch.setattr(tiff_kinds, "values", lambda samples, *_: np.full((side, side, samples), 777, np.uint16))
        monkeypatch.setattr(tiff_kinds, "WIDTH", side)
        monkeypatch.setattr(tiff_kinds, "HEIGHT", side)
        return tiff_kinds.tiff(tiff_kinds.RGB, 4, 2, 16, layout=tiff_kinds.Layout(compression=8))
    form, mode = kind.split()
    out = io.BytesIO()
    Image.fromarray(np.full((side, side, 4), 99, np.uint8), mode).save(out, form)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["JPEG CMYK", "TIFF CMYK", "TIFF RGBA", "TIFF of 16 bits"])
def test_memory_of_a_pixel(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = large(kind, monkeypatch)
    tracemalloc.start()
    try:
        pixels = decode_image(data)
        most = tracemalloc.get_traced_memory()[1] - len(data)
    finally:
        tracemalloc.stop()
    assert most < 26 * pixels.shape[0] * pixels.shape[1]


@pytest.mark.parametrize("bits", [4, 8])
def test_many_runs_of_compressed_bmp_take_little_time(bits: int) -> None:
    width = 700_000
    row = bytes([1, 7] * (width - 9)) + bytes([9, 3, 0, 0])
    before = time.process_time()
    pixels = decode_image(bmp_kinds.compressed(row * bmp_kinds.HEIGHT + b"\0\1", bits, width))
    assert time.process_time() - before < 2
    colours = bmp_kinds.PALETTE[:, 2::-1][[7 if bits == 8 else 0, 3 if bits == 8 else 0]]
    np.testing.assert_array_equal(pixels[0, [0, -1]], colours)


@pytest.mark.parametrize("mode", ["L", "RGB", "YCbCr", "CMYK"])
def test_tiff_of_jpeg_says_nothing_of_its_bits(mode: str) -> None:
    """Which bits come first in a byte is for other compressions: `tiffcp -f lsb2msb` writes it all the same."""
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 50, 3), np.uint8)).convert(mode)
    plain, said = io.BytesIO(), io.BytesIO()
    image.save(plain, "TIFF", compression="jpeg")
    image.save(said, "TIFF", compression="jpeg", tiffinfo={266: 2})
    assert tiffs.Directory(said).number(266) == 2
    assert np.array_equal(decode_image(said.getvalue()), decode_image(plain.getvalue()))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_rows_that_are_converted_some_at_a_time_are_the_same(monkeypatch, mode):
    noise = np.random.default_rng(3).integers(0, 256, (37, 23, 4), np.uint8)
    image = Image.fromarray(noise).convert("RGB").convert(mode) if mode != "RGBA" else Image.fromarray(noise)
    file = io.BytesIO()
    image.save(file, "PNG", **({"transparency": bytes([9, 200])} if mode == "P" else {}))
    for keep_alpha in (False, True):
        monkeypatch.undo()
        whole = decode_image(file.getvalue(), keep_alpha=keep_alpha)
        monkeypatch.setattr(images, "_AT_ONCE", 23 * 5)
        found = decode_image(file.getvalue(), keep_alpha=keep_alpha)
        assert np.array_equal(found, whole) and found.flags.writeable and found.flags.c_contiguous
