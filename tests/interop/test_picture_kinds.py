"""All that TIFF, PNG, BMP and anymaps can be: pixels are the SDK's, or that they aren't is said in the documentation.

Each row of ``ROWS`` is one of the table of ``docs/decisions/0016-pixels.md``, under the same name.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anymap_kinds
import bmp_kinds
import jpeg_kinds
import numpy as np
import png_kinds
import pytest
import supervisely as sly
import tiff_kinds
from odd_images import chunk, tiles
from PIL import Image, features

from blobdir.errors import ImageError
from blobdir.images import decode_image, shown_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

DOCUMENT = (Path(__file__).parents[2] / "docs/decisions/0016-pixels.md").read_text(encoding="utf-8")
SAME, ONLY_HERE, REFUSED, NEITHER, ALPHA, OTHER, NEAR = (
    "same",
    "only here",
    "refused",
    "neither",
    "alpha",
    "other",
    "near",
)
"""What comes of it; `NEAR`: other by 2 of 255 at the most."""
ROWS: Final[dict[str, tuple[str, str]]] = {
    "LAB in TIFF": (REFUSED, REFUSED),
    "LAB in TIFF, with a sign": (REFUSED, NEITHER),
    "YCbCr in TIFF, each colour apart": (REFUSED, REFUSED),
    "YCbCr in TIFF, each colour apart, with a sign": (REFUSED, NEITHER),
    "TIFF with samples of 2 or 4 bits": (ONLY_HERE, ONLY_HERE),
    "CMYK of 16 bits in TIFF": (ONLY_HERE, ONLY_HERE),
    "TIFF with samples that have a sign": (SAME, ONLY_HERE),
    "TIFF with samples of 10, 12 or 14 bits": (NEITHER, REFUSED),
    "TIFF with more than four samples a pixel": (ONLY_HERE, ONLY_HERE),
    "TIFF in RGB that says that some of its colours are none": (NEITHER, REFUSED),
    "floats in TIFF": (NEITHER, REFUSED),
    "TIFF with a palette of two colours": (SAME, OTHER),
    "TIFF in CMYK or with a fourth sample that is no alpha": (SAME, ALPHA),
    "animated PNG of 16 bits": (NEAR, SAME),
    "gray AVIF of limited range": (OTHER, OTHER),
    "BMP of OS/2": (SAME, OTHER),
    "BMP of 16 bits, of OS/2 or with a header that says where alpha is": (ONLY_HERE, ONLY_HERE),
    "BMP with compressed pixels of 4 bits that leave some out": (REFUSED, REFUSED),
}
"""Kind of file -> what comes of it, and what with `keep_alpha`."""
PLAIN = SAME, SAME
NONE = NEITHER, NEITHER


def decoded(decode: Callable[..., Any], data: bytes, *, keep_alpha: bool) -> np.ndarray | None:
    try:
        return decode(data, keep_alpha=keep_alpha)  # type: ignore[no-any-return]
    except ImageError:
        return None
    except Exception:
        if decode is decode_image:
            raise
        return None  # of the SDK, or of OpenCV


def outcome(data: bytes, *, keep_alpha: bool) -> str:
    theirs = decoded(sly.image.read_bytes, data, keep_alpha=keep_alpha)
    ours = decoded(decode_image, data, keep_alpha=keep_alpha)
    if ours is None or theirs is None:
        return {(True, True): NEITHER, (True, False): REFUSED}.get((ours is None, theirs is None), ONLY_HERE)
    if ours.shape != theirs.shape:
        return ALPHA
    if theirs.dtype != ours.dtype:  # "with `keep_alpha`, more than 8 bits a sample"
        assert (theirs.dtype, ours.dtype, keep_alpha) == (np.uint16, np.uint8, True)
        return SAME
    most = int(np.abs(ours.astype(int) - theirs).max())
    return SAME if not most else NEAR if most <= 2 else OTHER


def outcomes(data: bytes) -> tuple[str, str]:
    """What comes of a file; sizes that are written are those of the pixels."""
    found = outcome(data, keep_alpha=False), outcome(data, keep_alpha=True)
    if found[0] not in (REFUSED, NEITHER):
        assert shown_size(io.BytesIO(data)) == decode_image(data).shape[1::-1]
    elif found[0] == REFUSED and not data.startswith(b"P"):
        assert shown_size(io.BytesIO(data)) == sly.image.read_bytes(data).shape[1::-1]
    return found


@pytest.mark.parametrize("row", ROWS)
def test_what_differs_is_documented(row: str) -> None:
    assert f"\n| {row.removesuffix(', with a sign')} |" in DOCUMENT


def row_of_tiff(
    colours: int, samples: int, extra: int | None, bits: int, kind: int, layout: tiff_kinds.Layout
) -> str | None:
    """The row that is about a kind of TIFF; empty: pixels are the SDK's, None: nobody decodes it."""
    t, together = tiff_kinds, layout.planar == 1 or samples == 1
    gray, signed = colours in (t.GRAY, t.GRAY_WHITE), ", with a sign" if kind == 2 else ""
    usual = (gray and samples != 2) or (colours == t.RGB and samples in (3, 4))
    read = (gray and samples <= 4 and bits in (8, 16)) or (gray and (samples, bits) == (1, 1))
    read |= colours == t.RGB and samples in (3, 4) and bits in (8, 16)
    read |= (colours, samples, bits) in ((t.PALETTE, 1, 1), (t.PALETTE, 1, 4), (t.PALETTE, 1, 8), (t.CMYK, 4, 8))
    read |= (colours, samples, bits) in ((t.PALETTE, 2, 8), (t.YCBCR, 3, 8)) and together
    rows = {
        "floats in TIFF": kind == 3 and usual and bits == 32,
        "TIFF with samples of 10, 12 or 14 bits": usual and bits in (10, 12, 14),
        f"LAB in TIFF{signed}": (colours, samples) == (t.LAB, 3) and bits in (8, 16) and together and kind != 3,
        f"YCbCr in TIFF, each colour apart{signed}": (colours, samples, bits) == (t.YCBCR, 3, 8) and not together,
        "TIFF with samples of 2 or 4 bits": samples == 1
        and ((gray and bits in (2, 4)) or (colours, bits) == (t.PALETTE, 2)),
        "CMYK of 16 bits in TIFF": (colours, samples, bits, kind) == (t.CMYK, 4, 16, 1) and together,
        "TIFF with samples that have a sign": read and kind == 2,
        "TIFF with a palette of two colours": read and (colours, bits) == (t.PALETTE, 1),
        "TIFF in CMYK or with a fourth sample that is no alpha": read
        and kind == 1
        and (colours == t.CMYK or (colours, samples, extra) == (t.RGB, 4, 0)),
    }
    return next((row for row, holds in rows.items() if holds), "" if read and kind == 1 else None)


def expected_of_tiff(*kind: Any) -> tuple[str, str]:
    row = row_of_tiff(*kind)
    return NONE if row is None else ROWS[row] if row else PLAIN


@pytest.mark.parametrize("colours", tiff_kinds.COLOURS, ids=str)
def test_tiff(colours: tuple[int, int, int | None]) -> None:
    wrong = {}
    for bits, kind, layout in tiff_kinds.cells(colours):
        found = outcomes(tiff_kinds.tiff(*colours, bits, kind, layout))
        if found != (wanted := expected_of_tiff(*colours, bits, kind, layout)):
            wrong[bits, kind, str(layout)] = found, wanted
    assert not wrong


@pytest.mark.parametrize("what", tiff_kinds.OF_YCBCR)
def test_what_ycbcr_is_made_of(what: str) -> None:
    for layout in tiff_kinds.LAYOUTS[: len(tiff_kinds.LAYOUTS) // 2]:
        data = tiff_kinds.tiff(tiff_kinds.YCBCR, 3, layout=layout, tags=tiff_kinds.OF_YCBCR[what])
        theirs, ours = sly.image.read_bytes(data), decode_image(data)
        assert np.abs(theirs.astype(int) - ours).max() <= 1, layout


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
@pytest.mark.parametrize("extra", [None, 0, 1, 2])
def test_fourth_sample(extra: int | None, compression: str) -> None:
    Image.fromarray(tiff_kinds.values(4, 8, 1).astype(np.uint8)).save(
        file := io.BytesIO(), "TIFF", compression=compression
    )
    tag, kind = struct.pack("<HHI", 338, 3, 1), struct.pack("<HHI", 337, 3, 1)
    said = (kind + b"\2") if extra is None else tag + bytes([extra])
    found = outcomes(file.getvalue().replace(tag + b"\2", said))
    assert found == (ROWS["TIFF in CMYK or with a fourth sample that is no alpha"] if extra == 0 else PLAIN)


@pytest.mark.parametrize(("colours", "samples", "tag", "why"), tiff_kinds.OF_TAGS, ids=str)
def test_tags_that_libtiff_leaves_out(colours: int, samples: int, tag: tuple[int, int, list[int]], why: str) -> None:
    for layout in tiff_kinds.LAYOUTS[: len(tiff_kinds.LAYOUTS) // 2]:
        found = outcome(tiff_kinds.tiff(colours, samples, layout=layout, tags=[tag]), keep_alpha=False)
        assert found in (REFUSED, NEITHER), (layout, why)


@pytest.mark.parametrize(("colours", "samples", "extra"), tiff_kinds.NOT_COLOURS, ids=str)
def test_what_is_said_of_samples_that_are_no_colours(colours: int, samples: int, extra: list[int]) -> None:
    for layout in tiff_kinds.LAYOUTS[: len(tiff_kinds.LAYOUTS) // 2]:
        assert outcomes(tiff_kinds.tiff(colours, samples, layout=layout, tags=[(338, 3, extra)])) == PLAIN, layout


@pytest.mark.parametrize(("samples", "extra"), [(3, [0]), (3, [2]), (4, [0, 0]), (4, [0, 2])], ids=str)
def test_colours_that_are_none(samples: int, extra: list[int]) -> None:
    for layout in tiff_kinds.LAYOUTS:
        found = [
            outcomes(tiff_kinds.tiff(tiff_kinds.RGB, samples, None, bits, 1, layout, [(338, 3, extra)]))
            for bits in (8, 16)
        ]
        assert found == [NONE, ROWS["TIFF in RGB that says that some of its colours are none"]], layout


@pytest.mark.parametrize(("colours", "samples"), [(tiff_kinds.RGB, 5), (tiff_kinds.RGB, 6), (tiff_kinds.CMYK, 5)])
def test_more_than_four_samples(colours: int, samples: int) -> None:
    extra = samples - (3 if colours == tiff_kinds.RGB else 4)
    data = tiff_kinds.tiff(colours, samples, tags=[(338, 3, [0] * extra)])
    assert outcomes(data) == ROWS["TIFF with more than four samples a pixel"]


@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize(("tile", "tags"), tiff_kinds.IN_STRIPS_AND_TILES, ids=str)
def test_tiff_in_strips_and_in_tiles(tile: Any, tags: Any, compression: int) -> None:
    layout = tiff_kinds.Layout(compression=compression, tile=tile)
    for kind in ((tiff_kinds.GRAY, 1), (tiff_kinds.RGB, 3), (tiff_kinds.YCBCR, 3)):
        assert outcomes(tiff_kinds.tiff(*kind, layout=layout, tags=tags))[0] in (REFUSED, NEITHER)


@pytest.mark.parametrize("colours", tiff_kinds.COLOURS, ids=str)
def test_tiff_in_tiles(colours: tuple[int, int, int | None]) -> None:
    """Of one tile as large as the picture, which the SDK reads if it's compressed."""
    wrong = {}
    for bits, kind, layout in tiff_kinds.cells(colours):
        if layout.compression == 1 or layout.big or layout.fill != 1 or (kind, bits) not in ((1, 8), (1, 16)):
            continue
        tiled = replace(layout, tile=(tiff_kinds.WIDTH, tiff_kinds.HEIGHT))
        found = outcomes(tiff_kinds.tiff(*colours, bits, kind, tiled))
        if found != (wanted := expected_of_tiff(*colours, bits, kind, layout)):
            wrong[bits, kind, str(layout)] = found, wanted
    assert not wrong


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2), (4, 2), (4, 4)], ids=str)
def test_pixels_that_have_a_colour_together(subsampling: tuple[int, int]) -> None:
    for layout in tiff_kinds.LAYOUTS[: len(tiff_kinds.LAYOUTS) // 2]:
        data = tiff_kinds.tiff(tiff_kinds.YCBCR, 3, layout=layout, subsampling=subsampling)
        assert outcome(data, keep_alpha=False) in (SAME, NEAR), layout


@pytest.mark.parametrize("kept", [range(6), (5, 1, 0, 2, 4, 3), range(5), ()], ids=str)
def test_jpeg_2000_of_which_tiles_are_missing(kept: Iterable[int]) -> None:
    whole = len(list(kept)) == 6
    for no_jp2 in (False, True):
        assert outcome(tiles(kept, no_jp2=no_jp2), keep_alpha=False) in ((SAME,) if whole else (REFUSED, NEITHER))


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow doesn't know AVIF")
@pytest.mark.parametrize("limits", ["full", "limited"])
def test_gray_avif(limits: str) -> None:
    gray = np.tile(np.arange(256, dtype=np.uint8), (16, 1))
    Image.fromarray(gray).save(file := io.BytesIO(), "AVIF", subsampling="4:0:0", range=limits, quality=100)
    assert outcomes(file.getvalue()) == (PLAIN if limits == "full" else ROWS["gray AVIF of limited range"])
    assert {*decode_image(file.getvalue())[0, [0, -1], 0].tolist()} == {0, 255}


def test_png() -> None:
    wrong = {}
    for kind in png_kinds.KINDS:
        is_deep = kind.bits == 16 and kind.animation in ("first", "apart")
        wanted = ROWS["animated PNG of 16 bits"] if is_deep else PLAIN
        if (found := outcomes(kind.data())) != wanted:
            wrong[kind] = found, wanted
    assert not wrong


def test_deflated_tiff_whose_check_is_wrong() -> None:
    data = tiff_kinds.tiff(tiff_kinds.RGB, 3, layout=tiff_kinds.Layout(compression=8))
    found = [at for at in range(len(data) - 4) if data[at : at + 4] in checks(data)]
    assert found
    for at in found:
        data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    assert outcome(data, keep_alpha=False) == REFUSED


def checks(data: bytes) -> set[bytes]:
    """What ends the deflated parts of a file."""
    found = set()
    for at in range(len(data)):
        unpacker = zlib.decompressobj()
        try:
            pixels = unpacker.decompress(data[at:])
        except zlib.error:
            continue
        if unpacker.eof and pixels:
            found.add(struct.pack(">I", zlib.adler32(pixels)))
    return found


@pytest.mark.parametrize("extra", [0, 1, 2])
def test_gray_and_one_sample_more_compressed_as_jpeg(extra: int) -> None:
    assert outcome(tiff_kinds.gray_of_jpeg(extra), keep_alpha=False) == SAME


@pytest.mark.parametrize("missing", [1, 7, 40])
def test_png_whose_pixels_end_too_early(missing: int) -> None:
    for kind in png_kinds.KINDS:
        if kind.animation in ("", "apart"):
            less = min(missing, 5) if kind.part else missing
            assert outcomes(png_kinds.with_less(kind.data(), less))[0] in (NEITHER, REFUSED), kind


@pytest.mark.parametrize("kind", [b"acTL", b"fcTL"])
@pytest.mark.parametrize("animation", ["first", "apart"])
def test_checksums_of_animations(animation: str, kind: bytes) -> None:
    data = bytearray(png_kinds.Kind(6, 8, animation=animation).data())
    at = data.index(kind)
    data[at + 4 + int.from_bytes(data[at - 4 : at], "big")] ^= 1
    assert outcomes(bytes(data)) == PLAIN


@pytest.mark.parametrize("what", png_kinds.NOT_NEEDED)
@pytest.mark.parametrize("behind", [False, True])
def test_png_with_what_is_not_needed(what: str, behind: bool) -> None:
    assert outcomes(png_kinds.with_chunk(png_kinds.NOT_NEEDED[what], behind=behind)) == PLAIN


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("what", jpeg_kinds.NOT_NEEDED)
def test_jpeg_with_what_is_not_needed(what: str, late: bool) -> None:
    for picture in jpeg_kinds.PICTURES:
        for turned in (False, True):
            assert outcomes(jpeg_kinds.with_segment(what, picture, turned=turned, late=late)) == PLAIN, (
                picture,
                turned,
            )


def test_bmp() -> None:
    wrong = {}
    for kind in bmp_kinds.KINDS:
        wanted = PLAIN
        if kind.bits == 2 or kind.masks == "4444" or kind.header == 16:
            wanted = NONE
        elif kind.bits == 16 and (kind.header == 12 or (kind.masks and kind.header > 40)):
            wanted = ROWS["BMP of 16 bits, of OS/2 or with a header that says where alpha is"]
        elif kind.header == 12:
            wanted = ROWS["BMP of OS/2"]
        if (found := outcomes(kind.data())) != wanted:
            wrong[kind] = found, wanted
    assert not wrong


@pytest.mark.parametrize("header", [40, 56, 64, 108, 124])
def test_bmp_that_does_not_say_its_colours(header: int) -> None:
    for bits in (1, 4, 8):
        data = bytearray(bmp_kinds.Kind(header, bits).data())
        data[10:14] = struct.pack("<I", 14 + header + 4 * (1 << bits) - 4)
        assert outcomes(bytes(data))[0] in (REFUSED, NEITHER)
    data = bytearray(bmp_kinds.Kind(header, 32, "bgra").data())
    data[58:62] = bytes(4)
    assert outcomes(bytes(data))[0] in ((PLAIN[0],) if header < 56 else (REFUSED, NEITHER))


def test_png_of_frames_that_are_not_there() -> None:
    data = png_kinds.with_chunk(chunk(b"acTL", struct.pack(">II", 2, 0)))
    assert outcomes(data)[0] == REFUSED


NO_PICTURES: Final = "beyond a row", "beyond a row, as it is", "a move beyond a row", "ends too early"
LEAVE_OUT: Final = "4 bits, an early end", "4 bits, a move"
ROW: Final = "BMP with compressed pixels of 4 bits that leave some out"


@pytest.mark.parametrize("what", bmp_kinds.COMPRESSED)
def test_compressed_bmp(what: str) -> None:
    wanted = NONE if what in (*NO_PICTURES, *LEAVE_OUT) else PLAIN
    assert outcomes(bmp_kinds.COMPRESSED[what]) == wanted


def leaves_out(codes: bytes) -> bool:
    try:
        decode_image(codes)
    except ImageError as error:
        return "leave some out" in str(error)
    return False


def test_random_codes_of_compressed_bmp() -> None:
    files = {(seed, bits): bmp_kinds.random_codes(seed, bits) for seed in range(200) for bits in (4, 8)}
    found = {what: (data, outcomes(data)) for what, data in files.items()}
    wrong = {what: of for what, (_, of) in found.items() if of not in (PLAIN, NONE)}
    assert all(bits == 4 and wrong[seed, bits] == ROWS[ROW] for seed, bits in wrong)
    assert all(leaves_out(files[what]) for what in wrong)


@pytest.mark.parametrize("bits", [4, 8])
def test_many_runs_of_compressed_bmp(bits: int) -> None:
    found = [outcomes(bmp_kinds.many_runs(seed, bits)) for seed in range(60)]
    assert found.count(PLAIN) > 20
    assert set(found) <= {PLAIN, NONE}


@pytest.mark.parametrize("what", anymap_kinds.KINDS)
def test_anymap(what: str) -> None:
    assert outcomes(anymap_kinds.KINDS[what]) in (PLAIN, NONE)
