"""Pictures of all kinds that a format has, against what their samples are known to be.

Against the SDK: ``tests/interop/test_picture_kinds.py``.
"""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import re
import struct
import time
import tracemalloc
import zlib

import anymap_kinds
import bmp_kinds
import numpy as np
import png_kinds
import pytest
import tiff_kinds as of
from odd_images import CODE_SIZE, HEIGHT, LOSSLESS_16, WIDTH, XMP, chunk, jp2, save, tiles
from PIL import Image

from blobdir import tiffs
from blobdir.errors import ImageError
from blobdir.images import decode_image, shown_size

READ = [
    *((colours, 1, None) for colours in (of.GRAY, of.GRAY_WHITE)),
    *((colours, n, extra) for colours in (of.GRAY, of.GRAY_WHITE) for n in (2, 3, 4) for extra in (None, 0, 1, 2)),
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
        first = shown.shape[2]
        shown = (shown * found[..., first : first + 1] + 127) // 255
    return np.broadcast_to(shown, (*shown.shape[:2], 3)).astype(np.uint8)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("colours", READ, ids=str)
def test_tiff_is_what_it_is_in_any_layout(colours, bits):
    for kind in (1, 2):
        for layout in of.LAYOUTS + of.TILED:
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


@pytest.mark.parametrize("layout", [layout for layout in of.LAYOUTS if layout.planar == 1], ids=str)
@pytest.mark.parametrize(("colours", "samples", "tag", "why"), of.OF_TAGS, ids=str)
def test_tiff_that_says_what_libtiff_leaves_out(colours, samples, tag, why, layout):
    with pytest.raises(ImageError, match=why):
        decode_image(of.tiff(colours, samples, layout=layout, tags=[tag]))


@pytest.mark.parametrize("tag", of.OTHER_TAGS, ids=str)
def test_what_tiff_says_beside_its_samples_does_not_count(tag):
    for colours, layout in itertools.product([(of.RGB, 4, 2), (of.GRAY, 1), (of.PALETTE, 1), (of.CMYK, 4)], of.LAYOUTS):
        wanted = decode_image(of.tiff(*colours, layout=layout), keep_alpha=True)
        found = decode_image(of.tiff(*colours, layout=layout, tags=[tag]), keep_alpha=True)
        np.testing.assert_array_equal(found, wanted, err_msg=str(layout))


@pytest.mark.parametrize("layout", of.LAYOUTS, ids=str)
@pytest.mark.parametrize("tag", [258, 270, 282, 305, 338, 339, 65000])
def test_tiff_that_ends_before_what_it_says(tag, layout):
    """Pillow doesn't read on there, and libtiff does. What doesn't count may be wrong: some writers count bytes as
    numbers of four."""
    data = bytearray(of.tiff(of.RGB, 4, 2, layout=layout, tags=[(tag, 1 if tag == 282 else 3, [8] * 12)]))
    entries = tiffs.Directory(io.BytesIO(data)).entries
    place = entries[tag][2]
    form = f"{layout.order}{'Q' if layout.big else 'I'}"
    struct.pack_into(form, data, place, len(data) - 8)
    assert shown_size(io.BytesIO(data)) == (of.WIDTH, of.HEIGHT)
    if tag not in (258, 338, 339):
        np.testing.assert_array_equal(decode_image(bytes(data)), decode_image(of.tiff(of.RGB, 4, 2, layout=layout)))
        return
    with pytest.raises(ImageError, match="truncated: it ends before what it says of its picture"):
        decode_image(bytes(data))


@pytest.mark.parametrize("number", [0, 4, 99])
def test_differences_of_an_unknown_kind(number):
    with pytest.raises(ImageError, match="differences of an unknown kind"):
        decode_image(of.tiff(of.RGB, 3, layout=of.Layout(compression=8), tags=[(317, 4, [number])]))


@pytest.mark.parametrize("layout", [layout for layout in of.LAYOUTS if layout.compression == 8], ids=str)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", [1, 2])
def test_differences_of_what_they_cannot_be_of(kind, bits, layout):
    """Those of floating-point numbers."""
    with pytest.raises(ImageError, match="differences of an unknown kind"):
        decode_image(of.tiff(of.RGB, 3, None, bits, kind, layout, [(317, 3, [3])]))


@pytest.mark.parametrize("kind", [7, 13])
def test_tiff_is_not_turned_by_what_is_no_number(kind):
    data = of.tiff(of.RGB, 3, tags=[(274, kind, [6])])
    np.testing.assert_array_equal(decode_image(data), rgb(of.RGB, 3, None, 8, 1))
    assert shown_size(io.BytesIO(data)) == (of.WIDTH, of.HEIGHT)


@pytest.mark.parametrize("what", of.OF_YCBCR)
def test_ycbcr_is_made_of_the_same_in_any_layout(what):
    """Pillow is given the first one as it is."""
    tags = of.OF_YCBCR[what]
    wanted = decode_image(of.tiff(of.YCBCR, 3, layout=of.Layout(compression=8), tags=tags))
    assert np.abs(wanted.astype(int) - decode_image(of.tiff(of.YCBCR, 3))).max() > 9
    for layout in of.LAYOUTS[: len(of.LAYOUTS) // 2] + of.TILED[: len(of.TILED) // 2]:
        found = decode_image(of.tiff(of.YCBCR, 3, layout=layout, tags=tags))
        np.testing.assert_array_equal(found, wanted, err_msg=str(layout))


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2), (4, 2), (4, 4)], ids=str)
@pytest.mark.parametrize("tile", [None, (8, 4), (16, 16)])
def test_pixels_that_have_a_colour_together(tile, subsampling):
    """Compressed, they are read by libtiff."""
    data = {
        n: of.tiff(of.YCBCR, 3, layout=of.Layout(compression=n, tile=tile), subsampling=subsampling) for n in (1, 8)
    }
    wanted = decode_image(data[8])
    assert wanted.std() > 30
    np.testing.assert_array_equal(decode_image(data[1]), wanted)


@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize(("tile", "tags"), of.IN_STRIPS_AND_TILES, ids=str)
@pytest.mark.parametrize(("colours", "samples"), [(of.GRAY, 1), (of.RGB, 3), (of.YCBCR, 3)])
def test_tiff_in_strips_and_in_tiles(colours, samples, tile, tags, compression):
    data = of.tiff(colours, samples, layout=of.Layout(compression=compression, tile=tile), tags=tags)
    assert shown_size(io.BytesIO(data)) == (of.WIDTH, of.HEIGHT)
    with pytest.raises(ImageError, match="in strips or in tiles"):
        decode_image(data)


@pytest.mark.parametrize("colours", [(of.GRAY, 1), (of.RGB, 3), (of.RGB, 3, None, 16), (of.YCBCR, 3)], ids=str)
@pytest.mark.parametrize("tile", [None, (8, 4)])
def test_strips_and_tiles_that_are_too_short(colours, tile):
    """What lies behind them would be taken for pixels."""
    layout, kind = of.Layout(tile=tile), 325 if tile else 279
    whole = of.tiff(*colours, layout=layout)
    sizes = tiffs.Directory(io.BytesIO(whole)).numbers(kind)
    for number in range(len(sizes)):
        tags = [(kind, 4, [size - (at == number) for at, size in enumerate(sizes)])]
        with pytest.raises(ImageError, match=f"part {number + 1} of the {len(sizes)} parts of its picture has only"):
            decode_image(of.tiff(*colours, layout=layout, tags=tags))


@pytest.mark.parametrize(("colours", "samples", "extra"), of.NOT_COLOURS, ids=str)
def test_what_is_said_of_samples_that_are_no_colours(colours, samples, extra):
    """It counts where there are such."""
    for layout in of.LAYOUTS[: len(of.LAYOUTS) // 2]:
        found = decode_image(of.tiff(colours, samples, layout=layout, tags=[(338, 3, extra)]))
        np.testing.assert_array_equal(found, decode_image(of.tiff(colours, samples, layout=layout)))


@pytest.mark.parametrize("layout", of.LAYOUTS, ids=str)
@pytest.mark.parametrize(
    ("colours", "samples", "extra"),
    [(of.RGB, 3, [0]), (of.RGB, 4, [0, 2]), (of.GRAY, 1, [0, 0]), (of.GRAY, 2, [0] * 3)],
)
def test_colours_that_are_none(colours, samples, extra, layout):
    with pytest.raises(ImageError, match=f"it says that {len(extra)} of its {samples} samples? are no colours"):
        decode_image(of.tiff(colours, samples, layout=layout, tags=[(338, 3, extra)]))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_a_fourth_sample_of_which_nothing_is_said_is_multiplied_in(compression):
    file = io.BytesIO()
    Image.fromarray(of.values(4, 8, 1).astype(np.uint8)).save(file, "TIFF", compression=compression)
    data, extra = file.getvalue(), struct.pack("<HHI", 338, 3, 1)
    assert data.count(extra) == 1
    multiplied = data.replace(extra + b"\2", extra + b"\1")
    unsaid = data.replace(extra, struct.pack("<HHI", 337, 3, 1))
    for keep_alpha in (False, True):
        found = decode_image(unsaid, keep_alpha=keep_alpha)
        np.testing.assert_array_equal(found, decode_image(multiplied, keep_alpha=keep_alpha))
    assert (decode_image(data) != decode_image(unsaid)).any()


def most_memory(data: bytes) -> int:
    """Bytes that decoding takes beside the file at the most."""
    tracemalloc.start()
    try:
        decode_image(data)
    except ImageError:
        pass
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return most


@pytest.mark.parametrize("colours", [(of.GRAY, 1), (of.RGB, 3), (of.YCBCR, 3)], ids=str)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_strips_that_lie_in_the_same_place_take_no_memory(colours, order, big):
    many, size = 4000, 100_000
    layout, tags = of.Layout(order=order, big=big), [(257, 4, [many]), (278, 4, [1]), (279, 4, [size] * many)]
    data = of.tiff(*colours, layout=layout, tags=[*tags, (273, 4, [200_000] * many)])
    assert most_memory(data.ljust(200_000 + size, b"U")) < 8_000_000


@pytest.mark.parametrize("colours", [(of.GRAY, 1), (of.RGB, 3), (of.RGB, 3, None, 16), (of.YCBCR, 3)], ids=str)
@pytest.mark.parametrize("compression", [1, 8])
def test_tiles_count_whole(colours, compression):
    """However few pixels of each are in the picture: or a small file would keep everybody busy."""
    many, size = 20_000, 100_000
    tags = [(256, 4, [1]), (257, 4, [many]), (322, 4, [size]), (323, 4, [1])]
    tags += [(324, 4, [300_000] * many), (325, 4, [600_000] * many)]
    data = of.tiff(*colours, layout=of.Layout(compression=compression, tile=(8, 4)), tags=tags)
    assert shown_size(io.BytesIO(data)) == (1, many)
    with pytest.raises(ImageError, match="it has 2,000,000,000 pixels, and"):
        decode_image(data.ljust(900_000, b"U"))


@pytest.mark.parametrize("colours", [(of.GRAY, 1), (of.RGB, 3), (of.RGB, 3, None, 16), (of.YCBCR, 3)], ids=str)
@pytest.mark.parametrize("tile", [None, (16, 1)])
def test_many_strips_and_tiles_take_no_more_time(colours, tile):
    many, data = 40_000, b""
    layout, bytes_of = of.Layout(tile=tile), 16 * colours[1] * (2 if colours[-1] == 16 else 1)
    places, sizes = (324, 325) if tile else (273, 279)
    tags = [(256, 4, [16]), (257, 4, [many]), (323 if tile else 278, 4, [1])]
    at = 1_000_000
    tags += [(places, 4, [at + number * bytes_of for number in range(many)]), (sizes, 4, [bytes_of] * many)]
    data = of.tiff(*colours, layout=layout, tags=tags).ljust(at, b"\0") + bytes(bytes_of * many)
    before = time.process_time()
    assert decode_image(data).shape == (many, 16, 3)
    assert time.process_time() - before < 4


@pytest.mark.parametrize("kind", [b"P1\n3 3\n", b"P2\n3 3\n255\n", b"P3\n3 3\n255\n", b"P5\n"])
@pytest.mark.parametrize("blank", [b" ", b"\n", b"#\n", b"#x\r \n", b"#", b" #"])
@pytest.mark.parametrize("end", [b"", b"x", b"7" * 9])
def test_blanks_take_no_memory(kind, blank, end):
    data = kind + blank * (1_000_000 // len(blank)) + end
    assert most_memory(data) < 3 * len(data)


@pytest.mark.parametrize("kind", [b"P1\n2000 2000\n%b", b"P2\n2000 2000\n9\n%b"])
@pytest.mark.parametrize("text", [b"1 ", b"1\n"])
def test_text_is_read_at_once(kind, text):
    data, before = kind % (text * 4_000_000), time.process_time()
    assert set(decode_image(data)[0, 0]) <= {0, 28}
    assert time.process_time() - before < 1.5


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("bzip2", bz2.compress)])
@pytest.mark.parametrize("skip", [0, -1, 1000, 1 << 20, (1 << 20) + 1, 30_000_000, 999_999_999_999])
def test_what_nrrd_skips_takes_no_memory(encoding, compress, skip):
    head = f"NRRD0004\ntype: uchar\ndimension: 2\nsizes: 4 4\nencoding: {encoding}\nbyte skip: {skip}\n\n".encode()
    data = head + compress(bytes(min(max(skip, 0), 30_000_000)) + bytes(range(16)))
    if skip <= 1 << 20:
        np.testing.assert_array_equal(decode_image(data), np.arange(16).reshape(4, 4))
    else:
        with pytest.raises(ImageError, match=f"skips {skip:,} bytes of what is compressed, and 1,048,576 are the most"):
            decode_image(data)
    assert most_memory(data) < 9_000_000


PART = LOSSLESS_16.index(b"\xff\x90\0\x0a")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("boxes", [False, True])
@pytest.mark.parametrize("size", [1, 6, 11, 12, 13])
def test_part_of_jpeg_2000_that_ends_before_it_begins(size, boxes):
    """Whoever went on where it ends would come back to it for ever."""
    code = LOSSLESS_16[: PART + 6] + struct.pack(">I", size) + LOSSLESS_16[PART + 10 :]
    data = jp2(code, 16) if boxes else code
    assert shown_size(io.BytesIO(data)) == CODE_SIZE
    with pytest.raises(ImageError, match="damaged"):
        decode_image(data)


@pytest.mark.parametrize("no_jp2", [False, True])
@pytest.mark.parametrize("irreversible", [False, True])
@pytest.mark.parametrize("kept", [range(6), (5, 1, 0, 2, 4, 3), (0, 1, 1, 2, 3, 4), range(5), (0, 2), ()], ids=str)
def test_jpeg_2000_of_which_tiles_are_missing(kept, irreversible, no_jp2):
    """They would be black."""
    data = tiles(kept, irreversible=irreversible, no_jp2=no_jp2)
    if missing := 6 - len(set(kept)):
        with pytest.raises(ImageError, match=f"{missing} of its 6 tiles are missing"):
            decode_image(data)
    else:
        assert decode_image(data).min() > 0


WORDS_OF_PROGRAMS = "unpack|index|object|codec|driver|buffer|File Read|[Ee]rror|struct|argument|tuple|configur"


def pictures() -> dict[str, bytes]:
    made, image = {}, Image.fromarray(of.values(3, 8, 1).astype(np.uint8))
    for kind in ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "JPEG2000", "PPM"):
        image.save(file := io.BytesIO(), kind)
        made[kind] = file.getvalue()
    return made


@pytest.mark.parametrize("kind", pictures())
def test_cut_and_damaged_pictures_are_told_of_in_words_of_files(kind):
    whole, said = pictures()[kind], set()
    cut = [whole[:size] for size in range(1, len(whole), 1 + len(whole) // 300)]
    damaged = [whole[:at] + b"\xff\x7d" + whole[at + 2 :] for at in range(2, min(len(whole), 300))]
    for data in cut + damaged:
        for read in (decode_image, lambda data: shown_size(io.BytesIO(data))):
            try:
                read(data)
            except ImageError as error:
                said.add(str(error))
    assert said
    assert not [why for why in said if re.search(WORDS_OF_PROGRAMS, why)]


def test_of_a_tag_that_stands_there_twice_the_first_counts():
    data = bytearray(of.tiff(of.GRAY, 1))
    at = data.index(b"\x1c\x01\3\0")  # how planes lie, which can be left out
    data[at : at + 12] = data[10:18] + bytes([5, 0, 0, 0])
    assert shown_size(io.BytesIO(data)) == (of.WIDTH, of.HEIGHT)
    np.testing.assert_array_equal(decode_image(bytes(data)), rgb(of.GRAY, 1, None, 8, 1))


@pytest.mark.parametrize("layout", of.LAYOUTS + of.TILED, ids=str)
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_tiff_is_turned_in_any_layout(orientation, layout):
    data = of.tiff(of.RGB, 3, None, 16, 1, layout, [(274, 3, [orientation])])
    wanted = {1: 0, 3: 2, 6: -1}[orientation]
    np.testing.assert_array_equal(decode_image(data), np.rot90(rgb(of.RGB, 3, None, 16, 1), wanted))
    assert shown_size(io.BytesIO(data)) == ((of.HEIGHT, of.WIDTH) if orientation == 6 else (of.WIDTH, of.HEIGHT))


@pytest.mark.parametrize("colours", [(of.RGB, 3), (of.YCBCR, 3), (of.CMYK, 4), (of.PALETTE, 1), (of.GRAY, 1)], ids=str)
@pytest.mark.parametrize("compression", [1, 8])
def test_pillow_is_not_told_how_tiff_is_turned(colours, compression):
    """Some versions of it turn some of them twice."""
    data = of.tiff(*colours, layout=of.Layout(compression=compression), tags=[(274, 3, [6])])
    made = tiffs.plain(data, tiffs.Directory(io.BytesIO(data)))
    assert tiffs.ORIENTATION not in tiffs.Directory(io.BytesIO(made)).entries
    wanted = decode_image(of.tiff(*colours, layout=of.Layout(compression=compression)))
    np.testing.assert_array_equal(decode_image(data), np.rot90(wanted, -1))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("tags", "quarters"),
    [
        ([(274, 3, [6])], -1),
        ([(274, 1, [6])], -1),
        ([(274, 4, [3]), (700, 1, list(XMP))], 2),
        ([(274, 7, [6])], 0),
        ([(700, 1, list(XMP))], 0),
    ],
)
def test_jpeg_of_old_is_turned(tags, quarters, order):
    layout = of.Layout(order=order)
    wanted = decode_image(of.old_jpeg(save("JPEG"), (WIDTH, HEIGHT), layout))
    assert np.abs(wanted.astype(int) - decode_image(save("JPEG"))).max() < 30
    found = decode_image(of.old_jpeg(save("JPEG"), (WIDTH, HEIGHT), layout, tags))
    np.testing.assert_array_equal(found, np.rot90(wanted, quarters))


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
        (png_kinds.with_chunk(chunk(b"acTL", struct.pack(">II", 2, 0))), "an animation of 2 frames, and has none"),
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


@pytest.mark.parametrize("missing", [1, 7, 40])
@pytest.mark.parametrize("kind", [kind for kind in png_kinds.KINDS if kind.animation in ("", "apart")], ids=str)
def test_png_whose_pixels_end_too_early(kind, missing):
    """Compressed as a whole, so that nothing but their number says so."""
    data = kind.data()
    np.testing.assert_array_equal(decode_image(png_kinds.with_less(data, 0)), decode_image(data))
    with pytest.raises(ImageError, match="pixels end before its last row|truncated"):
        decode_image(png_kinds.with_less(data, min(missing, 5) if kind.part else missing))


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colours", "bits"), [(0, 1), (0, 8), (0, 16), (2, 8), (2, 16), (3, 8), (4, 8), (6, 8)])
def test_black_png_is_whole(colours, bits, interlaced):
    data = png_kinds.Kind(colours, bits, interlaced).data()
    at = data.index(b"IDAT")
    size = int.from_bytes(data[at - 4 : at])
    pixels = len(zlib.decompress(data[at + 4 : at + 4 + size]))
    black = data[: at - 4] + chunk(b"IDAT", zlib.compress(bytes(pixels))) + data[at + 8 + size :]
    assert decode_image(black).shape == (png_kinds.HEIGHT, png_kinds.WIDTH, 3)
    with pytest.raises(ImageError, match="before its last row|truncated"):
        decode_image(png_kinds.with_less(black, 1))


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


@pytest.mark.parametrize("colour", [0, 1, 2])
@pytest.mark.parametrize("header", [52, 56, 64, 108, 124])
def test_bmp_with_a_colour_of_no_bits(header, colour):
    data = bytearray(bmp_kinds.Kind(header, 32, "bgra").data())
    data[54 + 4 * colour : 58 + 4 * colour] = bytes(4)
    if header == 52:  # not looked at there
        assert decode_image(bytes(data)).size
        return
    assert shown_size(io.BytesIO(data)) == (bmp_kinds.WIDTH, bmp_kinds.HEIGHT)
    with pytest.raises(ImageError, match="which bits of a pixel are which colour"):
        decode_image(bytes(data))


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("header", [40, 52, 56, 64, 108, 124])
def test_bmp_whose_palette_is_cut_by_its_pixels(header, bits):
    data = bytearray(bmp_kinds.Kind(header, bits).data())
    data[10:14] = struct.pack("<I", 14 + header + 4 * (1 << bits) - 4)
    assert shown_size(io.BytesIO(data)) == (bmp_kinds.WIDTH, bmp_kinds.HEIGHT)
    with pytest.raises(ImageError, match="before its palette ends"):
        decode_image(bytes(data))


@pytest.mark.parametrize("extra", [0, 1, 2])
def test_gray_and_one_sample_more_compressed_as_jpeg(extra):
    """Also where the gray is multiplied by the alpha already."""
    pixels = decode_image(of.gray_of_jpeg(extra))
    assert pixels.shape == (8, 16, 3)
    assert np.array_equal(pixels, decode_image(of.gray_of_jpeg(2)))


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
