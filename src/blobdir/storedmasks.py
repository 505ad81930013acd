"""The pixels of masks in annotations, as the SDK reads them: of bitmaps and alpha masks, deflated or not.

After ``Bitmap.base64_2_data`` and ``AlphaMask.base64_2_data`` of SDK 6.74.51, which take other channels of a picture
where it's deflated than where it isn't:

==============  ======================================  =====================================
                deflated (OpenCV)                       as it is (Pillow)
==============  ======================================  =====================================
``bitmap``      what isn't transparent, or isn't black  where any channel isn't 0
``alpha_mask``  how bright it is, whatever its alpha    samples as they are, indexes too
==============  ======================================  =====================================
"""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from blobdir.errors import ImageError
from blobdir.images import read_picture

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

MOST_BYTES: Final = 1 << 30
"""Of an image that is packed in an annotation: what is more isn't unpacked."""
CHANNELS: Final = "have the wrong channels: neither gray nor with alpha"
ALPHA_MASK: Final = "alpha_mask"
_PLANE, _LAYERS = 2, 3
_RED, _GREEN, _BLUE, _BITS = 9797, 19234, 3737, 15
"""How libpng makes gray of colours."""


class MaskError(ValueError):
    """Pixels that nobody can read; what is wrong with them follows on "pixels that"."""


class StoredMask(NamedTuple):
    """Pixels of an object: how opaque each is, of bitmaps 0 or 255; and why the SDK doesn't read them, if so."""

    pixels: NDArray[np.uint8]
    refused: str = ""


def stored_mask(shape: str, data: str, most: int | None = None) -> StoredMask:
    """The pixels of an object.

    Parameters
    ----------
    shape : str
        ``bitmap`` or ``alpha_mask``.
    data : str
        As the annotation has it.
    most : int, optional
        Bytes that are unpacked at the most; else `MOST_BYTES`.

    Raises
    ------
    MaskError
    """
    plain = decoded(data)
    try:
        unpacked = inflated(plain, most)
        image = read_picture(plain if unpacked is None else unpacked)
        is_alpha, is_packed = shape == ALPHA_MASK, unpacked is not None
        found = (_gray(image) if is_packed else _plane(image)) if is_alpha else _set(image, is_packed=is_packed)
        return StoredMask(_guess(image, is_alpha=is_alpha), CHANNELS) if found is None else StoredMask(found)
    except ImageError as error:
        raise MaskError(f"can't be read: {error}") from error
    except MemoryError as error:
        raise MaskError("are too many to be looked at") from error


def decoded(data: str) -> bytes:
    """What base64 has encoded.

    Raises
    ------
    MaskError
    """
    try:
        return base64.b64decode(data)
    except (binascii.Error, ValueError) as error:
        raise MaskError("aren't base64") from error


def inflated(data: bytes, most: int | None = None) -> bytes | None:
    """What zlib has packed; None where it hasn't.

    Raises
    ------
    MaskError
    """
    unpacker = zlib.decompressobj()
    try:
        found = unpacker.decompress(data, most or MOST_BYTES)
    except zlib.error:
        return None
    if unpacker.eof:
        return found
    raise MaskError("are too many to be looked at" if unpacker.unconsumed_tail else "are no image, or cut off")


def _set(image: Image.Image, *, is_packed: bool) -> NDArray[np.uint8] | None:
    """What is set of a bitmap; None where the SDK refuses the channels."""
    if not is_packed:
        samples = np.asarray(image)
        return _whole(samples.max(axis=-1)) if samples.ndim == _LAYERS else None
    if _has_alpha(image):
        return _whole(_alpha(image))
    return _whole(np.asarray(image)) if image.mode[0] in "1LI" else None


def _gray(image: Image.Image) -> NDArray[np.uint8]:
    """How bright a picture is, as OpenCV has it."""
    if image.mode.startswith("I;16"):
        return (np.asarray(image) >> 8).astype(np.uint8)
    if image.mode in ("LA", "La"):
        return np.asarray(image.getchannel(0))
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    red, green, blue, _ = np.moveaxis(np.asarray(image.convert("RGBA"), np.uint32), -1, 0)
    found: NDArray[np.uint8] = ((_RED * red + _GREEN * green + _BLUE * blue) >> _BITS).astype(np.uint8)
    return found


def _plane(image: Image.Image) -> NDArray[np.uint8] | None:
    """Samples of an alpha mask that isn't deflated; None where it has several a pixel, which the SDK refuses."""
    samples: NDArray[Any] = np.asarray(image)
    if samples.ndim != _PLANE:
        return None
    plain: NDArray[np.uint8] = samples.astype(np.uint8)
    return _whole(plain) if samples.dtype == bool else plain


def _guess(image: Image.Image, *, is_alpha: bool) -> NDArray[np.uint8]:
    """What a picture is meant to be that the SDK refuses: its alpha, else its indexes, else how bright it is."""
    if _has_alpha(image):
        found = _alpha(image)
    elif image.mode == "P":
        return _whole(np.asarray(image))
    else:
        found = _whole(np.asarray(image)) if image.mode.startswith("I") else _gray(image)
    return found if is_alpha else _whole(found)


def _has_alpha(image: Image.Image) -> bool:
    """Whether OpenCV gives an alpha channel: not of a gray picture that only says which gray is transparent."""
    return "A" in image.mode or (image.mode in ("P", "RGB") and "transparency" in image.info)


def _alpha(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image.convert("RGBA"))[:, :, 3]


def _whole(samples: NDArray[Any]) -> NDArray[np.uint8]:
    """All or nothing."""
    found: NDArray[np.uint8] = np.where(samples != 0, np.uint8(255), np.uint8(0))
    return found
