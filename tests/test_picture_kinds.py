"""Pictures of all kinds that a format has, against what their samples are known to be.

Against the SDK: ``tests/interop/test_picture_kinds.py``.
"""

from __future__ import annotations

import io

import anymap_kinds
import bmp_kinds
import numpy as np
import png_kinds
import pytest
import tiff_kinds as of
from odd_images import chunk

from blobdir.errors import ImageError
from blobdir.images import decode_image, shown_size

READ = [
    *((colours, 1, None) for colours in (of.GRAY, of.GRAY_WHITE)),
    *((colours, 2, extra) for colours in (of.GRAY, of.GRAY_WHITE) for extra in (None, 0, 1, 2)),
    (of.RGB, 3, None),
    *((of.RGB, 4, extra) for extra in (None, 0, 1, 2)),
]
MULTIPLIED = 2
APART = png_kinds.Kind(2, 8, animation="apart").data()


def rgb(colours: int, samples: int, extra: int | None, bits: int, planar: int) -> np.ndarray:
    """What is seen of a TIFF of 8 or 16 bits."""
    found = of.values(samples, bits, 1).astype(int)
    gray, apart = colours != of.RGB, planar == 2 and samples > 1
    if bits == 16:
        found = found >> 8 if gray and not apart else (found + 128) // 257
    shown = found[..., :1] if gray else found[..., :3]
    if colours == of.GRAY_WHITE and not apart:
        shown = 255 - shown
    if extra == MULTIPLIED and (apart or not gray):
        shown = (shown * found[..., -1:] + 127) // 255
    return np.broadcast_to(shown, (*shown.shape[:2], 3)).astype(np.uint8)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("colours", READ, ids=str)
def test_tiff_is_what_it_is_in_any_layout(colours, bits):
    for kind in (1, 2):
        for layout in of.LAYOUTS:
            data = of.tiff(*colours, bits, kind, layout)
            assert shown_size(io.BytesIO(data)) == (of.WIDTH, of.HEIGHT)
            wanted = rgb(*colours, bits, layout.planar)
            np.testing.assert_array_equal(decode_image(data), wanted, err_msg=f"{kind} {layout}")


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("small", [False, True])
def test_palettes_of_tiff(bits, small):
    colours = np.array(of.colour_map(bits)) >> (8 if small else 0)
    seen = (colours if small else colours >> 8).reshape(3, -1).T[of.values(1, bits, 1)[..., 0]]
    for layout in of.LAYOUTS[: len(of.LAYOUTS) // 2]:
        data = of.tiff(of.PALETTE, 1, None, bits, 1, layout, [(320, 3, colours.tolist())])
        np.testing.assert_array_equal(decode_image(data), seen, err_msg=str(layout))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("colours", READ, ids=str)
def test_tiff_of_differences(colours, bits):
    """Compressed as differences from the pixel before, in strips."""
    kind = np.uint8 if bits == 8 else np.uint16
    found = of.values(colours[1], bits, 1).astype(kind)
    steps = np.concatenate([found[:, :1], np.diff(found, axis=1)], axis=1)
    strips = [of.compressed(steps[at : at + of.ROWS].astype(kind).tobytes(), 8) for at in range(0, of.HEIGHT, of.ROWS)]
    layout = of.Layout(compression=8)
    whole = of.tiff(*colours, bits, 1, layout, [(317, 3, [2])])
    pixels = whole.index(of.compressed(of.packed(found[: of.ROWS], bits, 1, "<"), 8))
    places = [pixels, pixels + len(strips[0])]
    tags = [(317, 3, [2]), (273, 4, places), (279, 4, [len(strip) for strip in strips])]
    data = of.tiff(*colours, bits, 1, layout, tags)[:pixels] + b"".join(strips)
    np.testing.assert_array_equal(decode_image(data), rgb(*colours, bits, 1))


@pytest.mark.parametrize("bits", [10, 12, 14, 24])
@pytest.mark.parametrize("colours", [(of.GRAY, 1), (of.GRAY_WHITE, 1), (of.RGB, 3)], ids=str)
@pytest.mark.parametrize("layout", of.LAYOUTS, ids=str)
def test_depths_that_are_not_decoded_are_named(bits, colours, layout):
    data = of.tiff(*colours, None, bits, 1, layout)
    assert shown_size(io.BytesIO(data)) == (of.WIDTH, of.HEIGHT)
    with pytest.raises(ImageError, match=f"it has {colours[1]} samples? a pixel, of {bits} bits"):
        decode_image(data)


@pytest.mark.parametrize(
    ("tags", "why"),
    [
        ([(273, 4, [400]), (279, 4, [44])], "it says where 1 of the 2 parts"),
        ([(279, 4, [44])], "it says where 1 of the 2 parts"),
        ([(279, 4, [44, 0])], "part 2 of the 2 parts of its picture has only 0 bytes"),
        ([(279, 4, [44, 21])], "part 2 of the 2 parts of its picture has only 21 bytes"),
        ([(273, 4, [])], "it says where 0 of the 2 parts"),
        ([(273, 4, [260, 10**6])], "truncated"),
        ([(256, 4, [of.WIDTH, 9])], "doesn't say how wide"),
        ([(257, 4, [])], "doesn't say how wide"),
        ([(257, 4, [of.HEIGHT * 9])], "parts of its picture"),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "layout", [layout for layout in of.LAYOUTS if layout.compression == layout.planar == 1], ids=str
)
def test_tiff_of_which_something_is_missing(tags, why, layout):
    with pytest.raises(ImageError, match=why):
        decode_image(of.tiff(of.GRAY, 1, layout=layout, tags=tags))


def test_of_a_tag_that_stands_there_twice_the_first_counts():
    data = bytearray(of.tiff(of.GRAY, 1))
    at = data.index(b"\x1c\x01\3\0")  # how planes lie, which can be left out
    data[at : at + 12] = data[10:18] + bytes([5, 0, 0, 0])
    assert shown_size(io.BytesIO(data)) == (of.WIDTH, of.HEIGHT)
    np.testing.assert_array_equal(decode_image(bytes(data)), rgb(of.GRAY, 1, None, 8, 1))


@pytest.mark.parametrize("layout", of.LAYOUTS, ids=str)
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_tiff_is_turned_in_any_layout(orientation, layout):
    data = of.tiff(of.RGB, 3, None, 16, 1, layout, [(274, 3, [orientation])])
    wanted = {1: 0, 3: 2, 6: -1}[orientation]
    np.testing.assert_array_equal(decode_image(data), np.rot90(rgb(of.RGB, 3, None, 16, 1), wanted))
    assert shown_size(io.BytesIO(data)) == ((of.HEIGHT, of.WIDTH) if orientation == 6 else (of.WIDTH, of.HEIGHT))


@pytest.mark.parametrize("part", [False, True])
@pytest.mark.parametrize("interlaced", [False, True])
def test_first_frame_of_an_animation_apart_from_the_picture(interlaced, part):
    kind = png_kinds.Kind(6, 8, interlaced, animation="apart", part=part)
    frame, wanted = kind.values(1), np.zeros((png_kinds.HEIGHT, png_kinds.WIDTH, 4), np.uint8)
    left, top = (2, 1) if part else (0, 0)
    wanted[top : top + frame.shape[0], left : left + frame.shape[1]] = frame
    np.testing.assert_array_equal(decode_image(kind.data(), keep_alpha=True), wanted)
    assert shown_size(io.BytesIO(kind.data())) == (png_kinds.WIDTH, png_kinds.HEIGHT)


@pytest.mark.parametrize("kind", [b"acTL", b"fcTL"])
def test_checksums_of_animations_are_not_looked_at(kind):
    data, frames = bytearray(png_kinds.Kind(6, 8, animation="apart").data()), png_kinds.Kind(6, 8).values(1)
    at = data.index(kind)
    data[at + 4 + int.from_bytes(data[at - 4 : at], "big")] ^= 1
    np.testing.assert_array_equal(decode_image(bytes(data), keep_alpha=True), frames)


@pytest.mark.parametrize("what", png_kinds.NOT_NEEDED)
@pytest.mark.parametrize("behind", [False, True])
def test_png_with_what_its_pixels_do_not_need(what, behind):
    data = png_kinds.with_chunk(png_kinds.NOT_NEEDED[what], behind=behind)
    np.testing.assert_array_equal(decode_image(data, keep_alpha=True), png_kinds.Kind(2, 8).values())
    assert shown_size(io.BytesIO(data)) == (png_kinds.WIDTH, png_kinds.HEIGHT)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (png_kinds.with_chunk(chunk(b"CgBI", bytes(4))), "chunk at byte 33 is of a kind that isn't known"),
        (png_kinds.bare()[:33], "truncated at byte 33"),
        (png_kinds.bare().replace(b"IHDR", b"IHDr"), "kind that isn't known|damaged"),
        (b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""), "header is damaged"),
        (APART.replace(b"fdAT", b"fdat"), "first frame are missing"),
        (
            png_kinds.Kind(2, 8, animation="apart").data().replace(b"fcTL\0\0\0\0\0\0\0", b"fcTL\0\0\0\0\0\0\1"),
            "inside of",
        ),
    ],
)
def test_damaged_png_says_why(data, why):
    with pytest.raises(ImageError, match=why):
        decode_image(data)


@pytest.mark.parametrize("masks", bmp_kinds.MASKS)
@pytest.mark.parametrize("upright", [False, True])
@pytest.mark.parametrize("header", bmp_kinds.HEADERS[2:])
def test_bits_of_bmp(header, upright, masks):
    kind = bmp_kinds.Kind(header, 32, masks, upright)
    found = kind.rows().view("<u4")
    bits = bmp_kinds.MASKS[masks] if header >= 56 else bmp_kinds.MASKS["bgra"]
    wanted = [(found & mask) * (255 / mask) if mask else np.full_like(found, 255) for mask in bits]
    pixels = decode_image(kind.data(), keep_alpha=True)
    assert np.abs(pixels - np.dstack(wanted)[:: 1 if upright else -1]).max() <= 1
    assert shown_size(io.BytesIO(kind.data())) == (bmp_kinds.WIDTH, bmp_kinds.HEIGHT)


def test_compressed_bmp_leaves_pixels_out():
    pixels = decode_image(bmp_kinds.COMPRESSED["an early end"])
    colours = bmp_kinds.PALETTE[:, 2::-1]
    numbers = [[0] * 11, [0] * 11, [5, 5, 5] + [0] * 8, [12] * 11, [11] * 11, [10] * 11]
    np.testing.assert_array_equal(pixels, colours[np.array(numbers)])


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("beyond a row", "go beyond its rows"),
        ("beyond a row, as it is", "go beyond its rows"),
        ("ends too early", "truncated"),
        ("4 bits, an early end", "leave some out"),
        ("4 bits, a move", "leave some out"),
    ],
)
def test_codes_of_bmp_that_mean_nothing(what, why):
    with pytest.raises(ImageError, match=why):
        decode_image(bmp_kinds.COMPRESSED[what])


@pytest.mark.parametrize(
    ("what", "first"),
    [
        ("text: a comment right behind a number", [1, 2, 3, 7, 9, 4]),
        ("text: a letter", [1, 2, 3, 7, 9, 4]),
        ("header: a comment right behind the brightest", [ord("c"), ord("\n"), 1, 2]),
        ("header: two bytes behind the brightest", [ord("\n"), 1, 2]),
        ("text to 100", [0, 51, 102, 153, 204, 255, 255]),
        ("dense bits", [0, 255, 0, 0]),
        ("header: bits", [255, 255, 255, 255]),
    ],
)
def test_numbers_of_anymaps(what, first):
    pixels = decode_image(anymap_kinds.KINDS[what])
    assert pixels[:, :, 0].ravel().tolist()[: len(first)] == first
    assert shown_size(io.BytesIO(anymap_kinds.KINDS[what])) == pixels.shape[1::-1]


@pytest.mark.parametrize(
    "what", ["text: a plus", "text: a minus", "header: no width", "header: a sign", "too few", "a huge number"]
)
def test_anymaps_that_are_none(what):
    with pytest.raises(ImageError):
        decode_image(anymap_kinds.KINDS[what])
