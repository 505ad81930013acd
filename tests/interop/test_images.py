"""Decoded images: blobdir's, made with Pillow, against the SDK's, made with OpenCV.

Importing the SDK sets ``PIL.ImageFile.LOAD_TRUNCATED_IMAGES``: all of these tests run with it.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import numpy as np
import pytest
import supervisely as sly
from corpus import (
    BIT,
    CMYK,
    COLOUR,
    DEEP,
    GRAY,
    GRAY16,
    GRAY_PALETTE,
    HEIGHT,
    LA,
    PALETTE,
    RGB,
    RGBA,
    RNG,
    WIDTH,
    XMP,
    bmp,
    bmp_rows,
    chunk,
    exif,
    late_exif,
    packed,
    png,
    save,
    without_adobe,
    ycck,
)
from PIL import Image, ImageFile

from blobdir.errors import ImageError
from blobdir.images import decode_image

# Equal to the last bit, with and without keep_alpha.
SAME: dict[str, bytes] = {
    **{f"jpeg exif {o}": save(RGB, "JPEG", quality=90, exif=exif(o)) for o in range(10)},
    **{f"jpeg gray exif {o}": save(GRAY, "JPEG", exif=exif(o)) for o in (3, 6)},
    **{f"png exif {o}": save(RGB, "PNG", exif=exif(o)) for o in range(1, 9)},
    **{f"png rgba exif {o}": save(RGBA, "PNG", exif=exif(o)) for o in (3, 6)},
    **{f"webp exif {o}": save(RGB, "WEBP", exif=exif(o)) for o in range(1, 9)},
    **{f"webp rgba exif {o}": save(RGBA, "WEBP", lossless=True, exact=True, exif=exif(o)) for o in (3, 6)},
    **{f"tiff orientation {o}": save(RGB, "TIFF", tiffinfo={274: o}) for o in range(1, 9)},
    **{f"jpeg subsampling {s}": save(RGB, "JPEG", subsampling=s) for s in (0, 1, 2)},
    "jpeg exif damaged": save(RGB, "JPEG", exif=b"Exif\0\0garbage!!"),
    "jpeg exif cut": save(RGB, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f"),
    "jpeg xmp orientation": save(RGB, "JPEG", xmp=XMP),
    "jpeg progressive": save(RGB, "JPEG", progressive=True),
    "jpeg gray": save(GRAY, "JPEG"),
    "jpeg gray progressive": save(GRAY, "JPEG", progressive=True),
    "jpeg rgb": save(RGB, "JPEG", keep_rgb=True),
    "jpeg cmyk": save(CMYK, "JPEG", quality=95),
    "jpeg cmyk without marker": without_adobe(save(CMYK, "JPEG", quality=95)),
    "jpeg ycck": ycck(save(CMYK, "JPEG", quality=95)),
    "jpeg junk at the end": save(RGB, "JPEG") + b"junk" * 100,
    "mpo": save(RGB, "MPO", save_all=True, append_images=[RGB.rotate(180)]),
    "png rgb": save(RGB, "PNG"),
    "png rgba": save(RGBA, "PNG"),
    "png la": save(LA, "PNG"),
    "png l": save(GRAY, "PNG"),
    "png 1": save(BIT, "PNG"),
    **{f"png palette {n}": save(RGB.quantize(n), "PNG") for n in (2, 4, 16, 17, 256)},
    "png palette trns": save(PALETTE, "PNG", transparency=bytes(range(0, 255, 15))),
    "png palette trns one": save(PALETTE, "PNG", transparency=3),
    "png gray palette": png(4, 3, packed(4), GRAY_PALETTE),
    "png gray palette trns": png(4, 3, packed(4), GRAY_PALETTE + chunk(b"tRNS", bytes(range(0, 160, 10)))),
    "png rgb trns": save(RGB, "PNG", transparency=tuple(map(int, COLOUR[5, 5]))),
    "png l trns": save(GRAY, "PNG", transparency=100),
    "png 1 trns": save(BIT, "PNG", transparency=0),
    "png l2": png(2, 0, packed(2)),
    "png l4": png(4, 0, packed(4)),
    "png l2 trns": png(2, 0, packed(2), chunk(b"tRNS", b"\0\1")),
    "png gamma": png(8, 2, COLOUR.reshape(HEIGHT, -1), chunk(b"gAMA", struct.pack(">I", 100_000))),
    "png late exif": late_exif(save(RGB, "PNG"), 6),
    "png animated": save(RGB, "PNG", save_all=True, append_images=[RGB.rotate(180)]),
    "bmp 8 gray": save(GRAY, "BMP"),
    "bmp 8 palette": save(RGB.quantize(200), "BMP"),
    "bmp 24": save(RGB, "BMP"),
    "bmp 1": save(BIT, "BMP"),
    "bmp 4": bmp(4, bmp_rows(4), palette=RNG.bytes(64)),
    "bmp 32": bmp(32, bmp_rows(32)),
    "bmp 32 zero": bmp(32, bmp_rows(32) & np.tile(np.array([255, 255, 255, 0], np.uint8), WIDTH)),
    "bmp 16, 5-5-5": bmp(16, bmp_rows(16)),
    "bmp 16, 5-6-5": bmp(16, bmp_rows(16), masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F)),
    "webp lossy": save(RGB, "WEBP", quality=80),
    "webp lossless": save(RGB, "WEBP", lossless=True),
    "webp rgba lossy": save(RGBA, "WEBP", quality=80),
    "webp rgba lossless": save(RGBA, "WEBP", lossless=True, exact=True),
    "webp gray": save(GRAY, "WEBP"),
    "webp animated": save(RGBA, "WEBP", save_all=True, append_images=[RGBA.rotate(180)], lossless=True, exact=True),
    **{f"tiff {c}": save(RGB, "TIFF", compression=c) for c in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg")},
    "tiff rgba": save(RGBA, "TIFF"),
    "tiff l": save(GRAY, "TIFF"),
    "tiff la": save(LA, "TIFF"),
    "tiff palette": save(PALETTE, "TIFF"),
    "tiff 1": save(BIT, "TIFF"),
    "tiff pages": save(RGB, "TIFF", save_all=True, append_images=[RGB.rotate(180)]),
    "gif": save(PALETTE, "GIF"),
    "gif gray": save(GRAY, "GIF"),
    "ppm": save(RGB, "PPM"),
    "pgm": save(GRAY, "PPM"),
}

# Equal as 8-bit RGB. With keep_alpha the SDK gives uint16; blobdir gives its high bytes.
SIXTEEN_BIT: dict[str, bytes] = {
    "png gray 16": save(GRAY16, "PNG"),
    "png gray 16 trns": png(16, 0, DEEP[:, :, 0], chunk(b"tRNS", struct.pack(">H", int(DEEP[3, 3, 0])))),
    "png la 16": png(16, 4, DEEP[:, :, :2].reshape(HEIGHT, -1)),
    "png rgb 16": png(16, 2, DEEP[:, :, :3].reshape(HEIGHT, -1)),
    "png rgba 16": png(16, 6, DEEP.reshape(HEIGHT, -1)),
    "tiff gray 16": save(GRAY16, "TIFF"),
}


@pytest.fixture(autouse=True)
def _lenient_pillow() -> None:
    assert ImageFile.LOAD_TRUNCATED_IMAGES, "the SDK doesn't set it any more: set it here"


@pytest.mark.parametrize("keep_alpha", [False, True])
@pytest.mark.parametrize("case", SAME)
def test_pixels_are_the_sdks(case: str, keep_alpha: bool) -> None:
    theirs = sly.image.read_bytes(SAME[case], keep_alpha=keep_alpha)
    ours = decode_image(SAME[case], keep_alpha=keep_alpha)
    assert ours.dtype == theirs.dtype == np.uint8
    np.testing.assert_array_equal(ours, theirs, strict=True)
    assert ours.flags.writeable
    assert ours.flags.c_contiguous


@pytest.mark.parametrize("case", SIXTEEN_BIT)
def test_sixteen_bit(case: str) -> None:
    data = SIXTEEN_BIT[case]
    np.testing.assert_array_equal(decode_image(data), sly.image.read_bytes(data), strict=True)
    theirs = sly.image.read_bytes(data, keep_alpha=True)
    assert theirs.dtype == np.uint16
    np.testing.assert_array_equal(decode_image(data, keep_alpha=True), (theirs >> 8).astype(np.uint8), strict=True)


def test_cmyk_tiff() -> None:
    data = save(CMYK, "TIFF")
    np.testing.assert_array_equal(decode_image(data), sly.image.read_bytes(data), strict=True)
    theirs = sly.image.read_bytes(data, keep_alpha=True)
    assert theirs.shape == (HEIGHT, WIDTH, 4)
    assert theirs[:, :, 3].min() == 255  # an alpha channel that the file doesn't have: left out here
    np.testing.assert_array_equal(decode_image(data, keep_alpha=True), theirs[:, :, :3], strict=True)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "TIFF"])
def test_truncated_anywhere(kind: str) -> None:
    """Fewer bytes are never an image with a gray rest, though the SDK tells Pillow to make one."""
    data = save(RGB, kind)
    # TIFF keeps its directory at the end of the file, and WebP and others may end in a padding byte.
    for size in random.Random(1).sample(range(len(data) - 2), 60):
        with pytest.raises(ImageError, match="a name"):
            decode_image(data[:size], name="a name")


def test_damaged_png() -> None:
    data = bytearray(save(RGB, "PNG"))
    data[-20] ^= 255
    with pytest.raises(ImageError, match=r"'x\.png': the checksum of the PNG chunk at byte 33 is wrong"):
        decode_image(bytes(data), name="x.png")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello world" * 9, "known format"),
        (b"NRRD0005\n# an NRRD file that says nothing\n\n", "no type"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "known format"),
        (save(GRAY.convert("F"), "TIFF"), "floating point"),
        (save(Image.fromarray(COLOUR, "LAB"), "TIFF"), "kind LAB"),
    ],
    ids=["empty", "text", "nrrd", "eps", "float", "lab"],
)
def test_not_decodable(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason) as info:
        decode_image(data, name="x.jpg")
    assert "x.jpg" in str(info.value)


def test_too_many_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", HEIGHT * WIDTH // 2 - 1)
    with pytest.raises(ImageError, match="MAX_IMAGE_PIXELS"):
        decode_image(save(RGB, "PNG"), name="x.png")


@pytest.mark.parametrize("decode", [decode_image, sly.image.read_bytes])
def test_keep_alpha_leaves_orientation(decode: Callable[..., np.ndarray]) -> None:
    data = save(RGB, "JPEG", exif=exif(6))
    assert decode(data).shape == (WIDTH, HEIGHT, 3)
    assert decode(data, keep_alpha=True).shape == (HEIGHT, WIDTH, 3)
