"""Image files to arrays, with the pixels that the Supervisely SDK gives, and without OpenCV.

The SDK decodes with ``cv2.imdecode``. What that does was tried format by format (``tests/interop/test_images.py`` does
so on every run), and what Pillow does differently by default is brought in line here:

- EXIF orientation is applied to JPEG, PNG and WebP, unless the alpha channel is kept. TIFF is always upright, AVIF and
  JPEG 2000 never turned. Where an orientation is found, and what of it counts: `blobdir.exif`.
- Of 16-bit gray samples the high byte counts; Pillow alone would cut everything off at 255.
- PBM, PGM and PPM have the samples of their files: `blobdir.anymaps`; so have BMP: `blobdir.bmps`, and TIFF in whatever
  way it has them: `blobdir.tiffs` and `blobdir.tiffpixels`. White stays white in JPEG 2000 of more than 8 bits:
  `blobdir.jpeg2000`.
- What PNG and JPEG have beside their pixels isn't read, and of an animation the first frame counts: `blobdir.pngs`,
  `blobdir.jpegs`.
- CMYK becomes RGB with OpenCV's (JPEG) and libtiff's (TIFF) integer formulas.
- TIFF colours come multiplied by their alpha, once.
- A gray image keeps three channels when only a ``tRNS`` chunk makes it transparent.
- NRRD is given as it is: `blobdir.nrrd`.

What stays different, all of it in rare files: ``docs/decisions/0016-pixels.md``.
"""

from __future__ import annotations

import io
import os
import struct
import warnings
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
from PIL import Image, UnidentifiedImageError

from blobdir import bmps, jpegs, nrrd, pngs, tiffs
from blobdir.annotations import SIDE_MAX, is_size
from blobdir.anymaps import anymap_of
from blobdir.durable import open_regular
from blobdir.errors import ImageError
from blobdir.exif import PNG_SIGNATURE, jpeg_orientation, orientation, png_orientation
from blobdir.inside import open_plain
from blobdir.jpeg2000 import with_all_bits
from blobdir.libraries import hush, overheard
from blobdir.tarwriting.lmdbs import StoreReader
from blobdir.tarwriting.reading import UnreadableError
from blobdir.tiffpixels import in_strips, multiplied, odd_layout, of_cmyk
from blobdir.wording import counted

if TYPE_CHECKING:
    from typing import BinaryIO

    from numpy.typing import NDArray
    from PIL.ImageFile import ImageFile

# Pillow is told what to try: some of its other readers start programs (EPS runs Ghostscript).
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "JPEG2000", "PPM", "AVIF")  # MPO: by JPEG
KINDS = "JPEG, PNG, BMP, WebP, TIFF, MPO, GIF, JPEG 2000, PPM, AVIF and NRRD"
"""Formats that are decoded, in words; AVIF from Pillow 11.3 on."""
_BEGINNING_BYTES = 16
_READS_TO_THE_END = frozenset({"JPEG", "MPO", "BMP", "GIF", "TIFF"})
_QUARTER = 5
"""The first orientation by which width and height change places."""
_COLOURED = 3
_AT_ONCE = 1 << 20
"""Pixels."""
_DAMAGED = "it is damaged"
_ENDED = "the image file is truncated"
_MEMORY = "it takes more memory than there is"
_PIXELS = "its compressed pixels are damaged"
_IN_WORDS = {
    _PIXELS: (
        *("decoder error", "decoding error", "broken data stream", "unrecognized data stream", "image buffer overrun"),
        *("failed to decode", "failed to read", "cannot decode image data"),
    ),
    _ENDED: ("truncated file read", "image file is truncated", "reached eof", "not enough", "image was incomplete"),
    "its header is of an unknown kind": ("unsupported bmp header type", "unknown pixel mode"),
    _MEMORY: ("out of memory",),
    _DAMAGED: (
        *("could not create decoder object", "codec configuration error", "bad configuration", "unknown error"),
        *("not identified by this driver", "cannot load this image", "cannot parse this image", "no more images"),
    ),
}
"""What Pillow's errors mean in words of files, and how what they say begins, in small letters."""
_RAISES = "--max-pixels raises that (in Python: PIL.Image.MAX_IMAGE_PIXELS)"


def decode_image(
    data: bytes, *, keep_alpha: bool = False, name: str = "", notes: list[str] | None = None
) -> NDArray[Any]:
    """Decode an image file.

    Parameters
    ----------
    data : bytes
        The whole image file: JPEG, PNG, BMP, WebP, TIFF, MPO, GIF, JPEG 2000, PPM, AVIF or NRRD. Of several frames, the
        first.
    keep_alpha : bool
        Keep the alpha channel of an image that has one. As in the SDK, the EXIF orientation is then *not* applied.
    name : str
        Name of the image, for error messages.
    notes : list of str, optional
        Gets what libtiff found damaged and went on, in a process that `blobdir.libraries.keep_quiet` was called in:
        some pixels may be wrong then, and the SDK has the same.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3) or (height, width, 4)
        RGB, or RGBA if `keep_alpha` is true and the image has alpha. Writable, C-contiguous, and the caller's own. Of
        NRRD, as from the SDK, the samples of the file: of any type, and with or without a third axis.

    Raises
    ------
    ImageError
        `data` is empty, truncated, damaged, of another format, or has samples without an 8-bit meaning (32-bit and
        floating point, LAB; NRRD may). Also more pixels than `pixel_limit`.

    Notes
    -----
    Truncated data is an error even where ``PIL.ImageFile.LOAD_TRUNCATED_IMAGES`` is set, as it is in every program
    that imports the SDK. Thread-safe; no global state is changed.
    """
    if not data:
        raise _error(name, "it is empty")
    if data.startswith(nrrd.MAGIC):
        return _samples(data, name)
    heard: list[str] = []
    try:
        with overheard() as heard:
            pixels, turn = _read(data, keep_alpha=keep_alpha, name=name)
    except ImageError:
        raise
    except UnidentifiedImageError as err:
        raise _error(name, f"it isn't an image of a known format; it begins with {data[:8]!r}") from err
    except Exception as err:  # damaged data makes Pillow's readers raise almost anything
        reason = ": ".join([_reason(err), *heard])
        raise _error(name, f"{reason} ({counted(len(data), 'byte')})") from err
    if notes is not None:
        notes += heard
    return _turned(pixels, turn)


def _read(data: bytes, *, keep_alpha: bool, name: str) -> tuple[NDArray[np.uint8], int]:
    """Samples of a file as they are stored, and its orientation."""
    if data[:4] in tiffs.BEGINNINGS:
        return _read_tiff(data, keep_alpha=keep_alpha, name=name)
    if anymap := anymap_of(io.BytesIO(data)):
        _check_pixels(anymap.width * anymap.height, name)
        return anymap.pixels(data), 1
    if data.startswith(bmps.MAGIC):
        bmps.check(data)
    if bmp := bmps.odd_bmp(io.BytesIO(data)):
        _check_pixels(bmp.width * bmp.height, name)
        return bmp.pixels(data, keep_alpha=keep_alpha), 1
    png = pngs.plain(data) if data.startswith(PNG_SIGNATURE) else None
    needed = png.data if png else jpegs.plain(data) if data.startswith(jpegs.BEGINNING) else data
    with _ImageFile(needed) as file, _opened(file) as image:
        width, height = png.canvas if png else image.size
        _check_pixels(width * height, name)
        turn = 1 if keep_alpha else orientation(image, io.BytesIO(data))
        # From here on the end of the file comes too early. (Before, readers look for what may not be there.)
        file.strict = image.format in _READS_TO_THE_END
        pixels = _decoded(image, data, keep_alpha=keep_alpha, name=name)
        if not png:
            return pixels, turn
        pngs.check_rows(png.data, image)
        return png.whole(pixels), turn


def _read_tiff(data: bytes, *, keep_alpha: bool, name: str) -> tuple[NDArray[np.uint8], int]:
    directory = tiffs.Directory(io.BytesIO(data))
    _check_pixels(directory.pixels(), name)  # before anything is made of them
    turn, data = directory.orientation(), tiffs.plain(data, directory)
    directory = tiffs.Directory(io.BytesIO(data))
    if layout := odd_layout(data, directory):
        pixels = layout.pixels([_gray(plane) for plane in layout.planes()], keep_alpha=keep_alpha)
        return pixels, turn
    with _ImageFile(data) as file, _opened(file) as image:
        file.strict = True
        return _decoded(image, data, keep_alpha=keep_alpha, name=name), turn


def _gray(data: bytes) -> NDArray[Any]:
    """Samples of a gray TIFF file."""
    with _ImageFile(data) as file, _opened(file) as image:
        file.strict = True
        return np.array(image)


class _Limit:
    """What the process has been told of pixels, if it was."""

    told: ClassVar = False
    most: ClassVar[int | None] = None


def pixel_limit() -> int | None:
    """Pixels of an image that is decoded at the most: twice ``PIL.Image.MAX_IMAGE_PIXELS``; None where that is None."""
    if _Limit.told:
        return _Limit.most
    return None if Image.MAX_IMAGE_PIXELS is None else 2 * int(Image.MAX_IMAGE_PIXELS)


def set_pixel_limit(most: int | None) -> None:
    """Have images of up to so many pixels be decoded, by the whole process; None or 0: of any number.

    Programs whose only user this is may call it: the command line, and processes that work for others. Pillow's own
    limit becomes no lower: it holds for whatever Pillow makes, texts too.
    """
    _Limit.told, _Limit.most = True, most or None
    if not most:
        Image.MAX_IMAGE_PIXELS = None
    elif Image.MAX_IMAGE_PIXELS is not None:
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, -(-most // 2))
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # from half of it on; who sets it has been asked


def read_picture(data: bytes) -> Image.Image:
    """A picture that is packed in something else, as Pillow gives it; of the formats that are decoded.

    Raises
    ------
    ImageError
        Says why not, and no more.
    """
    heard: list[str] = []
    try:
        with overheard() as heard, io.BytesIO(data) as file, _opened(file) as image:
            if fault := _too_many(image.width * image.height):
                raise ImageError(fault)
            image.load()
            return image.copy()
    except ImageError:
        raise
    except Exception as err:
        raise ImageError(": ".join([_reason(err), *heard])) from err


def shown_size(file: str | os.PathLike[str] | BinaryIO) -> tuple[int, int]:
    """Width and height of an image file as it's shown: of one that EXIF turns by a quarter they change places.

    The shape of what `decode_image` gives. Only the beginning of the file is read; of PNG, the beginnings of all its
    chunks, since EXIF may be the last. However many pixels it has: none is decoded.

    Raises
    ------
    ImageError
    """
    name = os.fspath(file) if isinstance(file, (str, os.PathLike)) else ""
    try:
        with open(open_plain(name), "rb") if name else nullcontext(cast("BinaryIO", file)) as source:
            return _checked(_size(source))
    except Exception as err:
        raise _error(name, _reason(err)) from err


def stored_size(data: bytes) -> tuple[int, int]:
    """Width and height of an image as its file has it, whatever EXIF says: what old versions of the SDK wrote.

    Raises
    ------
    ImageError
    """
    try:
        return _size(io.BytesIO(data), turn=False)
    except Exception as err:
        raise _error("", _reason(err)) from err


def _checked(size: tuple[int, int]) -> tuple[int, int]:
    """A width and height, if an image can be so wide and high."""
    if not all(map(is_size, size)):
        raise OSError(f"it says that it has {size[0]:,} x {size[1]:,} pixels, and {SIDE_MAX:,} are the most of a side")
    return size


def _size(file: BinaryIO, *, turn: bool = True) -> tuple[int, int]:
    file.seek(0)
    beginning = file.read(_BEGINNING_BYTES)
    file.seek(0)
    if beginning.startswith(nrrd.MAGIC):
        height, width = nrrd.read_header(file).shape[:2]
        return width, height
    if beginning[:4] in tiffs.BEGINNINGS:
        directory = tiffs.Directory(file)
        width, height = directory.size()
        return (height, width) if turn and directory.orientation() >= _QUARTER else (width, height)
    if beginning.startswith(PNG_SIGNATURE):
        width, height = pngs.size_of(file)
        return (height, width) if turn and png_orientation(file) >= _QUARTER else (width, height)
    if beginning.startswith(jpegs.BEGINNING):
        width, height = jpegs.size_of(file)
        return (height, width) if turn and jpeg_orientation(file) >= _QUARTER else (width, height)
    if anymap := anymap_of(file):
        return anymap.width, anymap.height
    if bmp := bmps.odd_bmp(file):
        return bmp.width, bmp.height
    file.seek(0)
    with _opened(file) as image:
        width, height = image.size
        turned = turn and orientation(image, getattr(file, "raw", file)) >= _QUARTER
    return (height, width) if turned else (width, height)


Seen = tuple[tuple[int, int] | str, bytes | None]
"""Size of an image, or why it can't be found out; and the bytes of its annotation, where these come along."""


def shown_sizes(folder: str, names: bytes) -> list[tuple[int, int] | str]:
    """`shown_size` of many files of a folder, or why it can't be found out. Their names are each followed by a NUL."""
    found: list[tuple[int, int] | str] = []
    for name in names.split(b"\0")[:-1]:
        try:
            with open_regular(os.path.join(folder, os.fsdecode(name))) as file:
                found.append(_size_or_why(file))
        except OSError as err:
            found.append(_reason(err))
    return found


def seen_values(address: str, keys: bytes, labels: bytes, stamp: int) -> list[Seen]:
    """`shown_sizes` of values of an LMDB store by their keys, if it's the one that was listed; and their annotations.

    Parameters
    ----------
    address : str
    keys, labels : bytes
        Each followed by a NUL; an empty one of `labels` is of an image that has none.
    stamp : int
        `blobdir.tarwriting.lmdbs.Store.stamp`.
    """
    reader = StoreReader(address)
    try:
        return [
            (_size_of_value(reader, key, stamp), reader.read(label, 0, stamp)[0] if label else None)
            for key, label in zip(keys.split(b"\0")[:-1], labels.split(b"\0")[:-1], strict=True)
        ]
    finally:
        reader.close()


def _size_of_value(reader: StoreReader, key: bytes, stamp: int) -> tuple[int, int] | str:
    try:
        return _size_or_why(io.BytesIO(reader.read(key, 0, stamp)[0]))
    except UnreadableError as error:
        return str(error.args[1])


def _size_or_why(file: BinaryIO) -> tuple[int, int] | str:
    try:
        return shown_size(file)
    except OSError as err:
        return _reason(err)
    except ImageError as err:
        return _reason(err.__cause__)


def for_screen(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """What `decode_image` gives as 8-bit RGB to be looked at: samples of other types from their least to their most.

    Only the first colours, or the first plane, of an array that has more is shown.
    """
    if pixels.ndim > _COLOURED:
        pixels = pixels.reshape(*pixels.shape[:2], -1)
    if pixels.dtype != np.uint8:
        plain = np.nan_to_num(pixels.astype(np.float64), posinf=0, neginf=0) / 4  # or the largest had no difference
        low, high = float(plain.min()), float(plain.max())
        pixels = ((plain - low) / (high - low or 1) * 255).astype(np.uint8)
    if pixels.ndim < _COLOURED or pixels.shape[2] < _COLOURED:
        return np.repeat(pixels.reshape(*pixels.shape[:2], -1)[:, :, :1], _COLOURED, axis=2)
    return np.ascontiguousarray(pixels[:, :, :_COLOURED])


def _opened(file: BinaryIO) -> ImageFile:
    """`PIL.Image.open`, but for its limit of pixels: that is for who decodes them, see `pixel_limit`.

    Raises
    ------
    UnidentifiedImageError
    SyntaxError
        It begins as one of the formats, and Pillow can't read it.
    """
    beginning, why = file.read(_BEGINNING_BYTES), ""
    hush()
    Image.preinit()
    for kind in _FORMATS:
        if kind not in Image.OPEN:
            Image.init()
        factory, accept = Image.OPEN.get(kind, (None, None))
        accepted = accept(beginning) if accept else True
        if factory is None or not accepted or isinstance(accepted, str):  # a text: why this Pillow can't
            continue
        try:
            file.seek(0)
            return factory(file, "")
        except (SyntaxError, IndexError, TypeError, struct.error) as err:  # as Pillow does: it isn't of this format
            said = tiffs.Directory(file).in_words() if kind == "TIFF" else _reason(err)
            why = why or f"it begins as {kind} does, but isn't one that can be read ({said})"
    if why:
        raise SyntaxError(why)
    raise UnidentifiedImageError


def _samples(data: bytes, name: str) -> NDArray[Any]:
    try:
        header = nrrd.read_header(io.BytesIO(data))
        _check_pixels(header.pixels, name)
        return nrrd.read_samples(data, header)
    except nrrd.NrrdError as err:
        raise _error(name, str(err)) from err


def _too_many(pixels: int) -> str:
    """Why so many pixels aren't decoded; empty where they are."""
    limit = pixel_limit()
    too_many = limit is not None and pixels > limit
    return f"it has {pixels:,} pixels, and {limit:,} are the most; {_RAISES}" if too_many else ""


def _check_pixels(pixels: int, name: str) -> None:
    if fault := _too_many(pixels):
        raise _error(name, fault)


def _reason(err: BaseException | None) -> str:
    """What an error of a reader says, in words of files and not of Python."""
    if isinstance(err, UnidentifiedImageError):
        return "it isn't an image of a known format"
    if isinstance(err, MemoryError):
        return _MEMORY
    if isinstance(err, Image.DecompressionBombError):
        return f"it has more than {pixel_limit():,} pixels; {_RAISES}"
    if err and err.args and isinstance(err.args[0], Exception):  # as Pillow wraps those of Python
        return _reason(err.args[0])
    if not isinstance(err, (OSError, SyntaxError, nrrd.NrrdError)):
        return _DAMAGED  # those are of Python
    said = getattr(err, "strerror", None) or str(err) or _DAMAGED
    if said.lstrip("-").isdigit():  # as libtiff's errors are in some versions of Pillow
        return _PIXELS
    return next((words for words, beginnings in _IN_WORDS.items() if said.lower().startswith(beginnings)), said)


def decoding(name: str) -> str:
    """What an error of an image of a name begins with."""
    return f"can't decode image {name!r}: " if name else "can't decode image: "


def _error(name: str, reason: str) -> ImageError:
    return ImageError(f"{decoding(name)}{reason}")


class _ImageFile(io.BytesIO):
    """Bytes of an image file. When `strict`, a read at its end is an error, whatever Pillow would make of it."""

    strict = False

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if not data and self.strict:
            raise OSError(_ENDED)
        return data


def _decoded(image: ImageFile, data: bytes, *, keep_alpha: bool, name: str) -> NDArray[np.uint8]:
    """RGB or RGBA samples of an image that is open, as its file has them."""
    is_multiplied = _keep_multiplied(image)
    dark = bmps.dark_bits(image.tile[0][3]) if image.format == "BMP" and image.tile else None
    pixels = _pixels(with_all_bits(image, data), keep_alpha=keep_alpha, is_multiplied=is_multiplied, name=name)
    return pixels & np.array(dark, np.uint8) if dark else pixels


def _keep_multiplied(image: ImageFile) -> bool:
    """Have a TIFF whose colours are multiplied by their alpha already be read as it is; whether it's one.

    They are where the file doesn't say what the fourth sample is, too.
    """
    tiles = image.tile if image.format == "TIFF" else []
    if tiles and tiffs.EXTRA not in getattr(image, "tag_v2", {}):
        return True
    arguments: list[Any] = [tile[3] for tile in tiles]
    if not tiles or not all(isinstance(of, tuple) and str(of[0]).startswith("RGBa") for of in arguments):
        return False
    made: Any = getattr(type(tiles[0]), "_make", tuple)
    image.tile = [made([*tile[:3], (f"RGBA{of[0][4:]}", *of[1:])]) for tile, of in zip(tiles, arguments, strict=True)]
    return True


def _pixels(image: Image.Image, *, keep_alpha: bool, is_multiplied: bool, name: str) -> NDArray[np.uint8]:
    """RGB or RGBA samples of a loaded image, as its file has them."""
    if image.mode.startswith("I;16"):
        gray = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(gray[:, :, None], 3, axis=2)
    if image.mode == "CMYK":
        cmyk = np.asarray(image)
        return of_cmyk(cmyk) if image.format == "TIFF" else in_strips(_cmyk_to_rgb, 3, cmyk)
    if image.mode == "RGBA" and image.format == "TIFF":
        rgba = np.array(image) if is_multiplied else in_strips(_premultiplied, 4, np.asarray(image))
        return rgba[:, :, : 4 if keep_alpha else 3]
    if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr"):
        kind = {"F": "in floating point", "I": "of 32 bits"}.get(image.mode, f"of the kind {image.mode}")
        raise _error(name, f"samples {kind} have no 8-bit meaning")
    # A palette with alpha goes through RGBA either way: Pillow warns about the direct way to RGB.
    transparent_palette = image.mode == "P" and "transparency" in image.info
    if transparent_palette or (keep_alpha and _has_alpha(image)):
        return _converted(image, "RGBA", 4 if keep_alpha else 3)
    return _converted(image, "RGB", 3)


def _converted(image: Image.Image, mode: str, channels: int) -> NDArray[np.uint8]:
    """Samples of a picture in another mode, some rows at a time: beside the picture itself there are only they."""
    image.load()
    (width, height), rows = image.size, max(1, _AT_ONCE // max(1, image.width))
    out = np.empty((height, width, channels), np.uint8)
    for top in range(0, height, rows):
        part = image if rows >= height else image.crop((0, top, width, min(top + rows, height)))
        out[top : top + rows] = np.asarray(part.convert(mode))[:, :, :channels]
    return out


def _has_alpha(image: Image.Image) -> bool:
    if image.mode in ("LA", "PA"):
        return image.format != "TIFF"
    return image.mode == "RGBA" or (image.mode in ("P", "RGB") and "transparency" in image.info)


def _cmyk_to_rgb(cmyk: NDArray[np.uint8]) -> NDArray[np.uint8]:
    light = 255 - cmyk.astype(np.int32)
    colour, key = light[:, :, :3], light[:, :, 3:]
    return (key - ((255 - colour) * key >> 8)).astype(np.uint8)


def _premultiplied(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.dstack([multiplied(rgba[:, :, :3], rgba[:, :, 3:]), rgba[:, :, 3:]])


def _turned(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Pixels the right way up; contiguous."""
    if orientation >= _QUARTER:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
