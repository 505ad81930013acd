"""Whether the SDK can read the pixels of bitmaps in annotations."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from blobdir.sdkrules import ANY, BITMAPS
from blobdir.storedmasks import MaskError, decoded, inflated, stored_mask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CUT_OFF: Final = "are no image, or cut off"
_LAYERS = 3


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
        if shape == "multichannelBitmap":
            unpacked = inflated(decoded(data))
            is_layers = unpacked is not None and np.load(io.BytesIO(unpacked), allow_pickle=False).ndim == _LAYERS
            return "" if is_layers else _CUT_OFF
        pixels, refused = stored_mask(shape, data)
    except MaskError as error:
        return str(error)
    except MemoryError:
        return "are too many to be looked at"
    except (OSError, ValueError, EOFError):
        return _CUT_OFF
    return refused or ("" if pixels.any() else "are all empty")
