"""Image files to arrays, with the pixels that the Supervisely SDK gives, and without OpenCV.

The SDK decodes with ``cv2.imdecode``. What that does was tried format by format (``tests/interop/test_images.py`` does
so on every run), and what Pillow does differently by default is brought in line here:

- EXIF orientation is applied to JPEG, PNG and WebP, unless the alpha channel is kept. TIFF is always upright.
- Of 16-bit gray samples the high byte counts; Pillow alone would cut everything off at 255.
- CMYK becomes RGB with OpenCV's (JPEG) and libtiff's (TIFF) integer formulas.
- TIFF colours come multiplied by their alpha.
- A gray image keeps three channels when only a ``tRNS`` chunk makes it transparent.

What stays different, all of it in rare files: 16-bit colour TIFF (by 1 of 255, from rounding), 16-bit BMP (by up to
7), the colour of fully transparent GIF pixels and an animated GIF's alpha, and CMYK TIFF with `keep_alpha`, where the
SDK adds an opaque alpha channel. With `keep_alpha` the SDK gives 16-bit images as ``uint16``: here they are ``uint8``,
and the alpha that a ``tRNS`` chunk gives a 16-bit colour PNG may differ.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError

from blobdir.durable import open_regular
from blobdir.errors import ImageError

if TYPE_CHECKING:
    from typing import BinaryIO

    from numpy.typing import NDArray

# Pillow is told what to try: some of its other readers start programs (EPS runs Ghostscript).
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "JPEG2000", "PPM")  # MPO: by JPEG
_ORIENTED = frozenset({"JPEG", "MPO", "PNG", "WEBP"})  # Pillow turns TIFF itself; the others have no EXIF
_READS_TO_THE_END = frozenset({"JPEG", "MPO", "BMP", "GIF", "TIFF"})
_ORIENTATION_TAG = 0x0112
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def decode_image(data: bytes, *, keep_alpha: bool = False, name: str = "") -> NDArray[np.uint8]:
    """Decode an image file.

    Parameters
    ----------
    data : bytes
        The whole image file: JPEG, PNG, BMP, WebP, TIFF, MPO, GIF, JPEG 2000 or PPM. Of several frames, the first.
    keep_alpha : bool
        Keep the alpha channel of an image that has one. As in the SDK, the EXIF orientation is then *not* applied.
    name : str
        Name of the image, for error messages.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3) or (height, width, 4)
        RGB, or RGBA if `keep_alpha` is true and the image has alpha. Writable, C-contiguous, and the caller's own.

    Raises
    ------
    ImageError
        `data` is empty, truncated, damaged, of another format (NRRD too), or has samples without an 8-bit meaning
        (32-bit and floating point, LAB). Also more than twice ``PIL.Image.MAX_IMAGE_PIXELS`` pixels; from that limit
        on Pillow's ``DecompressionBombWarning`` is given. Raise the limit for images that really are so large.

    Notes
    -----
    Truncated data is an error even where ``PIL.ImageFile.LOAD_TRUNCATED_IMAGES`` is set, as it is in every program
    that imports the SDK. Thread-safe; no global state is read or changed.
    """
    if not data:
        raise _error(name, "it is empty")
    if data.startswith(_PNG_SIGNATURE):
        _check_png(data, name)
    try:
        with _ImageFile(data) as file, Image.open(file, formats=_FORMATS) as image:
            # From here on the end of the file comes too early. (Before, readers look for what may not be there.)
            file.strict = image.format in _READS_TO_THE_END
            image.load()
            pixels = _pixels(image, keep_alpha=keep_alpha, name=name)
            turn = 1 if keep_alpha else _orientation(image)
    except ImageError:
        raise
    except UnidentifiedImageError as err:
        raise _error(name, f"it isn't an image of a known format; it begins with {data[:8]!r}") from err
    except Image.DecompressionBombError as err:
        raise _error(name, f"{err} Raise PIL.Image.MAX_IMAGE_PIXELS if it really is so large") from err
    except Exception as err:  # damaged data makes Pillow's readers raise almost anything
        raise _error(name, f"{str(err) or type(err).__name__} ({len(data)} bytes)") from err
    return _turned(pixels, turn)


def shown_size(file: str | os.PathLike[str] | BinaryIO) -> tuple[int, int]:
    """Width and height of an image file as it's shown: of one that EXIF turns by a quarter they change places.

    Raises
    ------
    ImageError
    """
    try:
        with Image.open(file, formats=_FORMATS) as image:
            width, height = image.size
            turned = _orientation(image) >= 5
    except Exception as err:
        raise _error(os.fspath(file) if isinstance(file, (str, os.PathLike)) else "", _reason(err)) from err
    return (height, width) if turned else (width, height)


def shown_sizes(folder: str, names: bytes) -> list[tuple[int, int] | str]:
    """`shown_size` of many files of a folder, or why it can't be found out. Their names are each followed by a NUL."""
    found: list[tuple[int, int] | str] = []
    for name in names.split(b"\0")[:-1]:
        try:
            with open_regular(os.path.join(folder, os.fsdecode(name))) as file:
                found.append(shown_size(file))
        except OSError as err:
            found.append(_reason(err))
        except ImageError as err:
            found.append(_reason(err.__cause__))
    return found


def _reason(err: BaseException | None) -> str:
    if isinstance(err, UnidentifiedImageError):
        return "it isn't an image of a known format"
    return getattr(err, "strerror", None) or str(err) or type(err).__name__


def _error(name: str, reason: str) -> ImageError:
    return ImageError(f"can't decode image {name!r}: {reason}" if name else f"can't decode image: {reason}")


class _ImageFile(io.BytesIO):
    """Bytes of an image file. When `strict`, a read at its end is an error, whatever Pillow would make of it."""

    strict = False

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if not data and self.strict:
            raise OSError("the image file is truncated")
        return data


def _check_png(data: bytes, name: str) -> None:
    """Check the checksums and the end of a PNG file, which Pillow doesn't when it loads pixels."""
    at, kind = len(_PNG_SIGNATURE), b""
    while kind != b"IEND":
        if at + 12 > len(data):
            raise _error(name, f"the PNG file is truncated at byte {len(data)}")
        size, kind = struct.unpack_from(">I4s", data, at)
        if at + 12 + size > len(data):
            raise _error(name, f"the PNG file is truncated at byte {len(data)}, in the chunk at byte {at}")
        critical = not kind[0] & 0x20
        (checksum,) = struct.unpack_from(">I", data, at + 8 + size)
        if critical and zlib.crc32(memoryview(data)[at + 4 : at + 8 + size]) != checksum:
            raise _error(name, f"the checksum of the PNG chunk at byte {at} is wrong")
        at += 12 + size


def _pixels(image: Image.Image, *, keep_alpha: bool, name: str) -> NDArray[np.uint8]:
    """RGB or RGBA samples of a loaded image, as its file has them."""
    if image.mode.startswith("I;16"):
        gray = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(gray[:, :, None], 3, axis=2)
    if image.mode == "CMYK":
        return _cmyk_to_rgb(np.asarray(image), image.format)
    if image.mode == "RGBA" and image.format == "TIFF":
        return _premultiplied(np.asarray(image))[:, :, : 4 if keep_alpha else 3]
    if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr"):
        raise _error(name, f"samples of the kind {image.mode!r} have no 8-bit meaning")
    # A palette with alpha goes through RGBA either way: Pillow warns about the direct way to RGB.
    transparent_palette = image.mode == "P" and "transparency" in image.info
    if transparent_palette or (keep_alpha and _has_alpha(image)):
        return np.array(image.convert("RGBA"))[:, :, : 4 if keep_alpha else 3]
    return np.array(image.convert("RGB"))


def _has_alpha(image: Image.Image) -> bool:
    if image.mode in ("LA", "PA"):
        return image.format != "TIFF"
    return image.mode == "RGBA" or (image.mode in ("P", "RGB") and "transparency" in image.info)


def _cmyk_to_rgb(cmyk: NDArray[np.uint8], image_format: str | None) -> NDArray[np.uint8]:
    light = 255 - cmyk.astype(np.int32)
    colour, key = light[:, :, :3], light[:, :, 3:]
    rgb = colour * key // 255 if image_format == "TIFF" else key - ((255 - colour) * key >> 8)
    return rgb.astype(np.uint8)


def _premultiplied(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    out = rgba.copy()
    out[:, :, :3] = (rgba[:, :, :3].astype(np.int32) * rgba[:, :, 3:] + 127) // 255
    return out


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 if there is none or the EXIF data is damaged.

    Not ``Image.getexif``: that takes the orientation from XMP and from text chunks too, which OpenCV doesn't.
    """
    raw = image.info.get("exif")
    if image.format not in _ORIENTED or not raw:
        return 1
    exif = Image.Exif()
    try:
        exif.load(raw)
        value = exif.get(_ORIENTATION_TAG)
    except Exception:  # the pixels are there all the same; OpenCV ignores damaged EXIF data too
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _turned(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Pixels the right way up; contiguous."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
