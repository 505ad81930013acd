"""Samples of PGM and PPM files as OpenCV reads them: Pillow makes others of all that don't reach to 255.

What is stored in binary stays as it is, whatever the file says that its brightest sample is; of two bytes the higher
one counts. Of text, samples of up to 255 are stretched to that, those of more are taken for two bytes too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.ImageFile import ImageFile

_COMMENT: Final = re.compile(rb"#[^\r\n]*")
_WORD: Final = re.compile(rb"\S+")
_ONE_BYTE, _TWO_BYTES = 255, 65535


def samples_of(image: ImageFile, data: bytes) -> NDArray[np.uint8] | None:
    """Samples of a PGM or PPM file, of shape (height, width, 1) or (height, width, 3); None of other files.

    Parameters
    ----------
    image : ImageFile
        Opened by Pillow, and not loaded.
    data : bytes
        The file.

    Raises
    ------
    OSError
        Samples are missing, or too bright.
    """
    if image.format != "PPM" or data[1:2] not in (b"2", b"3", b"5", b"6") or not image.tile:
        return None
    decoder, _, start, arguments = cast("tuple[str, object, int, Any]", image.tile[0])
    whole = _TWO_BYTES if "I;16B" in arguments else _ONE_BYTE
    brightest = whole if decoder == "raw" else arguments[1]
    shape = image.height, image.width, 3 if data[1:2] in (b"3", b"6") else 1
    found = _text if data[1:2] in (b"2", b"3") else _binary
    return found(data, start, shape, brightest)


def _binary(data: bytes, start: int, shape: tuple[int, int, int], brightest: int) -> NDArray[np.uint8]:
    count = shape[0] * shape[1] * shape[2]
    wide = 2 if brightest > _ONE_BYTE else 1
    if len(data) - start < count * wide:
        raise OSError("the image file is truncated")
    return np.frombuffer(data, np.uint8, count * wide, start)[::wide].reshape(shape)


def _text(data: bytes, start: int, shape: tuple[int, int, int], brightest: int) -> NDArray[np.uint8]:
    count = shape[0] * shape[1] * shape[2]
    words = _WORD.finditer(_COMMENT.sub(b" ", data[start:]))
    try:
        samples = np.fromiter((int(word[0]) for word in words), np.int64, count).reshape(shape)
    except (ValueError, OverflowError) as error:
        raise OSError("samples are missing in it, or are no numbers") from error
    if samples.min() < 0 or samples.max() > brightest:
        raise OSError(f"it has samples that aren't from 0 to {brightest}")
    return (samples >> 8 if brightest > _ONE_BYTE else samples * _ONE_BYTE // brightest).astype(np.uint8)
