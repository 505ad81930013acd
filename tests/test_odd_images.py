"""Images turned as by the SDK, samples of many bits, and sizes that can't be. Against the SDK: ``test_corpus.py``."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
from contextlib import suppress

import numpy as np
import pytest
import tiff_kinds
from corpus import KINDS, scrambled
from odd_images import (
    CODE_SIZE,
    DEEP,
    HEIGHT,
    LOSSLESS_16,
    LOSSY_12,
    ORIENTED,
    PIXELS,
    SATURATED_12,
    WIDTH,
    anymap,
    chunk,
    jp2,
    png,
    save,
)
from PIL import Image

from blobdir import images, libraries
from blobdir.cli.app import run
from blobdir.errors import ImageError
from blobdir.images import decode_image, for_screen, pixel_limit, read_picture, set_pixel_limit, shown_size, stored_size


@pytest.mark.parametrize("what", ORIENTED)
def test_sizes_and_pixels_are_turned_alike(what):
    _, data, is_turned = ORIENTED[what]
    height, width = (WIDTH, HEIGHT) if is_turned else (HEIGHT, WIDTH)
    assert decode_image(data).shape == (height, width, 3)
    assert shown_size(io.BytesIO(data)) == (width, height)
    assert stored_size(data) == (WIDTH, HEIGHT)
    kept = what.startswith("tiff")  # of which the SDK leaves none as it's stored
    assert decode_image(data, keep_alpha=True).shape[:2] == ((height, width) if kept else (HEIGHT, WIDTH))


@pytest.mark.parametrize("what", [what for what, (kind, _, _) in ORIENTED.items() if kind in (".png", ".tif")])
def test_pixels_are_those_of_the_file(what):
    _, data, is_turned = ORIENTED[what]
    np.testing.assert_array_equal(decode_image(data), np.rot90(PIXELS, -1) if is_turned else PIXELS, strict=True)


def test_the_file_stays_where_it_is():
    """Pillow goes on reading from there."""
    file = io.BytesIO(ORIENTED["png, late"][1])
    with images._opened(file) as image:
        before = file.tell()
        assert images.orientation(image, file) == 6
        assert file.tell() == before


def test_chunks_are_looked_at_with_a_bound():
    empty = chunk(b"tEXt", b"") * 120_000
    assert shown_size(io.BytesIO(png(late=empty + chunk(b"eXIf", b"MM")))) == (WIDTH, HEIGHT)


def samples(data):
    """Samples of a PGM or PPM, as its file has them."""
    head, text = data.split(b"\n", 4)[:4], data.split(b"\n", 4)[4]
    count = HEIGHT * WIDTH * (3 if head[0] in (b"P3", b"P6") else 1)
    if head[0] in (b"P2", b"P3"):
        return np.array(text.split(), np.int64)
    return np.frombuffer(text, ">u2" if int(head[3]) > 255 else np.uint8, count).astype(np.int64)


@pytest.mark.parametrize("what", [what for what in DEEP if what.startswith("p")])
def test_anymaps(what):
    data, _ = DEEP[what]
    most, found = int(data.split(b"\n", 4)[3]), samples(data)
    wanted = found >> 8 if most > 255 else found * 255 // most if data[1:2] in b"23" else found
    wanted = np.broadcast_to(wanted.reshape(HEIGHT, WIDTH, -1), (HEIGHT, WIDTH, 3))
    np.testing.assert_array_equal(decode_image(data), wanted)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (anymap("P5", 65535, 1)[:-1], "truncated"),
        (anymap("P6", 255, 3)[:-1], "truncated"),
        (anymap("P2", 255, 1, text=True)[:-6], "missing"),
        (anymap("P3", 1023, 3, text=True).replace(b"\n0 ", b"\nx "), "no numbers"),
        (anymap("P2", 255, 1, text=True).replace(b" 255 ", b" -1 "), "no numbers"),
    ],
)
def test_damaged_anymaps(data, why):
    with pytest.raises(ImageError, match=why):
        decode_image(data, name="a.bmp")


@pytest.mark.parametrize(("code", "bits", "off"), [(LOSSLESS_16, 16, 1), (LOSSY_12, 12, 24)])
@pytest.mark.parametrize("boxes", [False, True])
def test_white_stays_white(code, bits, off, boxes):
    """Pillow alone makes black of it."""
    width, height = CODE_SIZE
    rows, columns = np.mgrid[:height, :width]
    most = (1 << bits) - 1
    slopes = (columns, width - 1), (rows, height - 1), (rows + columns, width + height - 2)
    wanted = np.stack([values * most // last for values, last in slopes], -1)
    found = decode_image(jp2(code, bits) if boxes else code)
    assert np.abs(found.astype(int) - (wanted >> bits - 8)).max() <= off
    assert (found.min(), found.max()) == (0, 255)


def test_white_stays_white_where_samples_are_far_beyond_it():
    found = decode_image(SATURATED_12)
    assert np.abs(found[3, 2].astype(int) - (255, 38, 187)).max() <= 1
    assert (found == 255).sum() > 2200


@pytest.mark.parametrize(
    "changed",
    [
        LOSSLESS_16[:42] + bytes([0x8F]) + LOSSLESS_16[43:],  # with a sign
        LOSSLESS_16[:42] + bytes([0x12]) + LOSSLESS_16[43:],  # of 19 bits
        LOSSLESS_16[:43] + b"\2\2" + LOSSLESS_16[45:],  # of another size
        jp2(LOSSLESS_16, 16).replace(b"\0\0\0\x10\0\0", b"\0\0\0\x12\0\0", 1),  # YCC
    ],
    ids=["signed", "19 bits", "subsampled", "ycc"],
)
def test_samples_that_cannot_be_told_apart(changed):
    with pytest.raises(ImageError, match=r"can't decode image 'a\.jpg': .*(bits are signed|damaged|broken)"):
        decode_image(changed, name="a.jpg")


@pytest.mark.parametrize("size", range(2, len(LOSSLESS_16) - 1, 7))
def test_cut_off_anywhere(size):
    with pytest.raises(ImageError, match="a name"):
        decode_image(LOSSLESS_16[:size], name="a name")


HUGE = 4_000_000_000
TOO_LARGE = {
    "nrrd": f"NRRD0004\ntype: uchar\ndimension: 2\nsizes: {HUGE} {HUGE}\nencoding: gzip\n\nx".encode(),
    "pgm": f"P5 {HUGE} {HUGE} 255\nx".encode(),
    "png": save("PNG").replace(struct.pack(">II", WIDTH, HEIGHT), struct.pack(">II", HUGE, HUGE)),
    "tiff": save("TIFF").replace(struct.pack("<HHII", 256, 4, 1, WIDTH), struct.pack("<HHII", 256, 4, 1, HUGE)),
}


@pytest.mark.parametrize("what", TOO_LARGE)
def test_sizes_that_no_annotation_can_have(what):
    with pytest.raises(ImageError):
        shown_size(io.BytesIO(TOO_LARGE[what]))


def test_what_such_a_size_is_called():
    with pytest.raises(
        ImageError, match=r"it says that it has 4,000,000,000 x 4,000,000,000 pixels, and 2,147,483,647 "
    ):
        shown_size(io.BytesIO(TOO_LARGE["nrrd"]))


def test_what_begins_as_a_format_and_is_none_is_named():
    with pytest.raises(
        ImageError, match=r"'a\.tif': it begins as TIFF does, but isn't one that can be read \(1 sample a pixel, .* LAB"
    ):
        decode_image(tiff_kinds.tiff(tiff_kinds.LAB, 1), name="a.tif")
    with pytest.raises(ImageError, match=r"'a\.tif': it says that a pixel has 7 samples, and not what those are"):
        decode_image(KINDS["tiff of seven samples"].data, name="a.tif")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([1e308, -1e308, 0], [255, 0, 127]),
        ([np.nan, np.inf, -np.inf], [0, 0, 0]),
        ([5e-324, 0, 0], [0, 0, 0]),
        ([3, 3, 3], [0, 0, 0]),
    ],
)
def test_any_samples_can_be_shown(values, shown):
    assert for_screen(np.array([values]))[0, :, 0].tolist() == shown


@pytest.fixture
def limit(monkeypatch):
    """The limit of pixels, which is as before afterwards."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    for name in ("told", "most"):
        monkeypatch.setattr(images._Limit, name, getattr(images._Limit, name))


@pytest.mark.usefixtures("limit")
@pytest.mark.parametrize("most", [100, 10**9, 0, None])
def test_a_limit_is_for_images_alone(most):
    """Pillow's own holds for texts too: it isn't made lower."""
    before = Image.MAX_IMAGE_PIXELS
    set_pixel_limit(most)
    assert pixel_limit() == (most or None)
    assert Image.MAX_IMAGE_PIXELS is None if not most else before <= Image.MAX_IMAGE_PIXELS
    if most == 100:
        with pytest.raises(ImageError, match="it has 240 pixels, and 100 are the most; --max-pixels raises that"):
            decode_image(save("PNG"))
        with pytest.raises(ImageError, match="^it has 240 pixels, and 100 are the most; --max-pixels raises that"):
            read_picture(save("PNG"))
    else:
        assert decode_image(save("PNG")).shape == (HEIGHT, WIDTH, 3)
        assert read_picture(save("PNG")).size == (WIDTH, HEIGHT)


def test_pictures_are_of_formats_that_start_no_program():
    with pytest.raises(ImageError, match="^it isn't an image of a known format$"):
        read_picture(KINDS["a program"].data)


DAMAGED = KINDS["tiff with damaged codes"].data
SEVEN = KINDS["tiff of seven samples"].data


@pytest.fixture
def quiet(monkeypatch):
    monkeypatch.setattr(libraries._Quiet, "wanted", True)


@pytest.mark.usefixtures("quiet")
def test_what_libraries_say_is_part_of_the_error(capfd):
    with pytest.raises(ImageError, match=r"'a\.tif': its compressed pixels are damaged: \w"):
        decode_image(DAMAGED, name="a.tif")
    with pytest.raises(ImageError, match="7|samples"):
        decode_image(SEVEN, name="a.tif")
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("quiet")
def test_what_others_say_then_is_not_lost_afterwards(capfd):
    with pytest.raises(ImageError):
        decode_image(DAMAGED)
    print("said", file=sys.stderr, flush=True)
    assert capfd.readouterr().err == "said\n"


@pytest.mark.usefixtures("quiet")
def test_more_lines_than_there_is_room_for(capfd):
    with libraries.overheard() as heard, suppress(BlockingIOError):
        for number in range(9999):
            os.write(2, b"tempfile.tif: line %d\n" % number)
    assert heard == ["line 0", "line 1", "line 2"]
    assert capfd.readouterr().err == ""


PROGRAM = """
import sys
from blobdir.images import decode_image
try:
    decode_image(sys.stdin.buffer.read())
except ValueError as error:
    print(error)
"""


def test_other_programs_keep_theirs():
    """Only blobdir's own programs take standard error from libraries."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], input=DAMAGED, capture_output=True, timeout=60, check=True)
    assert b"compressed pixels are damaged" in done.stdout
    assert b"tempfile.tif" in done.stderr


@pytest.mark.usefixtures("quiet")
def test_threads_decode_while_libraries_are_quiet(capfd):
    def decode():
        for _ in range(20):
            with pytest.raises(ImageError):
                decode_image(DAMAGED)

    threads = [threading.Thread(target=decode) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    print("said", file=sys.stderr, flush=True)
    assert capfd.readouterr().err == "said\n"


@pytest.mark.parametrize("processes", ["1", "2"])
def test_verify_names_what_only_libtiff_has_found(tmp_path, capfd, processes):
    """It makes a picture all the same, as for the SDK; processes beside this one write nothing of their own either."""
    (tmp_path / "source/d").mkdir(parents=True)
    for number in range(600):  # more than one process gets at a time
        (tmp_path / f"source/d/{number}.png").write_bytes(save("PNG"))
    for name in ("a.tif", "b.tif"):
        (tmp_path / "source/d" / name).write_bytes(scrambled(KINDS["tiff group 4"].data))
    assert run(["pack", "-q", str(tmp_path / "source"), str(tmp_path / "p")]) == 0
    assert run(["verify", "-q", "--decode", "--processes", processes, str(tmp_path / "p")]) == 0
    out, said = capfd.readouterr()
    assert said == ""
    assert out.splitlines()[0] == "warning: d: image-damaged, 2 times"
    assert out.splitlines()[1].startswith("    a.tif: Fax")
