"""Whether the SDK can read the pixels of bitmaps in annotations."""

from __future__ import annotations

import base64
import binascii
import io
import zlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from blobdir.errors import ImageError
from blobdir.images import read_picture
from blobdir.sdkrules import ANY, BITMAPS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray
    from PIL import Image

MOST_BYTES: Final = 1 << 30
"""Of an image that is packed in an annotation: what is more isn't unpacked."""
_CUT_OFF: Final = "are no image, or cut off"
_PLANE, _LAYERS = 2, 3


def bitmap_faults(annotation: Mapping[str, Any], shapes: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with the pixels of objects.

    Parameters
    ----------
    annotation : mapping
    shapes : mapping of str to str
        Of classes.
    """
    for number, item in enumerate(annotation["objects"]):
        shape = shapes.get(item["classTitle"], "")
        if shape == ANY:
            shape = item.get("geometryType", item.get("shape"))
        if shape not in BITMAPS:
            continue
        try:
            data = item[BITMAPS[shape]]["data"]
            fault = pixels_fault(shape, data) if isinstance(data, str) else ""
        except (KeyError, TypeError):
            continue  # said where annotations are looked at
        if fault:
            yield f"object {number} ({item['classTitle']!r}) has pixels that {fault}"


def pixels_fault(shape: str, data: str) -> str:
    """What is wrong with pixels; empty where nothing is."""
    try:
        plain = base64.b64decode(data)
    except (binascii.Error, ValueError):
        return "aren't base64"
    try:
        unpacked = _unpacked(plain)
        if shape == "multichannelBitmap":
            is_layers = unpacked is not None and np.load(io.BytesIO(unpacked), allow_pickle=False).ndim == _LAYERS
            return "" if is_layers else _CUT_OFF
        image = read_picture(plain if unpacked is None else unpacked)
        pixels = _mask(image, is_packed=unpacked is not None, is_alpha=shape == "alpha_mask")
    except MemoryError:
        return "are too many to be looked at"
    except ImageError as error:
        return f"can't be read: {error}"
    except (OSError, ValueError, EOFError):
        return _CUT_OFF
    if pixels is None:
        return "have the wrong channels: neither gray nor with alpha"
    return "" if pixels.any() else "are all empty"


def _unpacked(data: bytes) -> bytes | None:
    """What zlib has packed; None where it hasn't.

    Raises
    ------
    MemoryError
    """
    unpacker = zlib.decompressobj()
    try:
        found = unpacker.decompress(data, MOST_BYTES)
    except zlib.error:
        return None
    if not unpacker.eof:
        if unpacker.unconsumed_tail:
            raise MemoryError
        return None
    return found


def _mask(image: Image.Image, *, is_packed: bool, is_alpha: bool) -> NDArray[Any] | None:
    """The pixels that count; None where the SDK refuses the channels."""
    if is_alpha and is_packed:
        return np.asarray(image.convert("L"))
    pixels = np.asarray(image)
    if is_alpha:
        return pixels if pixels.ndim == _PLANE else None
    if not is_packed:
        return pixels if pixels.ndim == _LAYERS else None
    if "A" in image.mode or "transparency" in image.info:
        return np.asarray(image.convert("RGBA"))[:, :, 3]
    return pixels if image.mode[0] in "1LI" else None
