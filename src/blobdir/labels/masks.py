"""Masks as the formats write them: COCO's run lengths, and the PNG in base64 of LabelMe; to that of Supervisely."""

from __future__ import annotations

import base64
import binascii
import io
import zlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image, ImageDraw

from blobdir.labels.model import LabelError, Mask
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from blobdir.labels.model import Polygon

MOST_PIXELS: Final = 1 << 28
"""Of a mask: it takes as many bytes."""
_MOST_BYTES: Final = 1 << 30
_LOW, _MORE, _SIGN = 0x1F, 0x20, 0x10


def from_rle(rle: Any) -> Mask | None:
    """COCO's run lengths, a list or compressed text; None where no pixel is set.

    Runs go down the columns, and begin with pixels that aren't set.

    Raises
    ------
    LabelError
    """
    if not isinstance(rle, dict) or "counts" not in rle:
        raise LabelError("its mask has no counts")
    size = rle.get("size")
    if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
        raise LabelError("its mask has no size of two whole numbers")
    height, width = size
    if height * width > MOST_PIXELS:
        raise LabelError(f"its mask has {width} × {height} pixels, which is too many")
    counts = rle["counts"]
    if isinstance(counts, str):
        runs = np.array(_decompress(counts), np.int64)
    elif isinstance(counts, list) and all(type(count) is int for count in counts):
        try:
            runs = np.array(counts, np.int64)
        except OverflowError:
            raise LabelError("its mask has a run that is too long") from None
    else:
        raise LabelError("its mask has counts that are neither a text nor a list of whole numbers")
    if len(runs) and int(runs.min()) < 0:
        raise LabelError("its mask has a run of less than no pixels")
    if (total := sum(runs.tolist())) != height * width:
        raise LabelError(f"its mask has runs of {total} pixels, and a size of {width} × {height}")
    values = np.arange(len(runs)) % 2 == 1
    return cropped(np.repeat(values, runs).reshape(width, height).T)


def to_rle(mask: Mask, width: int, height: int) -> dict[str, Any]:
    """Uncompressed run lengths of a mask in an image; what is outside the image is cut off."""
    whole = in_image(mask, width, height)
    flat = whole.T.ravel()
    if not flat.size:
        return {"counts": [], "size": [height, width]}
    ends = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate(([0], ends, [flat.size]))
    runs = np.diff(edges).tolist()
    return {"counts": [0, *runs] if flat[0] else runs, "size": [height, width]}


def compressed(counts: Sequence[int]) -> str:
    """Run lengths as COCO's text: the difference to the one before the last, five bits a character."""
    found = []
    for i, count in enumerate(counts):
        value = count - counts[i - 2] if i > 2 else count
        while True:
            bits = value & _LOW
            value >>= 5
            more = value != -1 if bits & _SIGN else value != 0
            found.append(chr((bits | _MORE if more else bits) + 48))
            if not more:
                break
    return "".join(found)


def _decompress(text: str) -> list[int]:
    counts: list[int] = []
    at = 0
    while at < len(text):
        value = shift = 0
        while True:
            if at >= len(text):
                raise LabelError("its mask is cut off")
            bits = ord(text[at]) - 48
            at += 1
            if not 0 <= bits < 64 or shift > 60:
                raise LabelError("its mask has counts that aren't COCO's text")
            value |= (bits & _LOW) << shift
            shift += 5
            if not bits & _MORE:
                if bits & _SIGN:
                    value |= -1 << shift
                break
        counts.append(value + counts[-2] if len(counts) > 2 else value)
    return counts


def cropped(pixels: NDArray[np.bool_], left: int = 0, top: int = 0) -> Mask | None:
    """A mask with nothing around it; None where no pixel is set."""
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    if not len(rows):
        return None
    part = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Mask(left + int(columns[0]), top + int(rows[0]), np.ascontiguousarray(part))


def in_image(mask: Mask, width: int, height: int) -> NDArray[np.bool_]:
    """A mask as large as its image; what is outside is cut off."""
    whole = np.zeros((height, width), bool)
    rows, columns = mask.pixels.shape
    top, left = max(0, mask.top), max(0, mask.left)
    bottom, right = min(height, mask.top + rows), min(width, mask.left + columns)
    if top < bottom and left < right:
        whole[top:bottom, left:right] = mask.pixels[
            top - mask.top : bottom - mask.top, left - mask.left : right - mask.left
        ]
    return whole


def beyond(shape: Mask | Polygon, width: int, height: int) -> str:
    """Say that some of a shape is outside of its image, where run lengths have nothing; empty where all is inside."""
    if isinstance(shape, Mask):
        count = int(np.count_nonzero(shape.pixels))
        cut = count - int(np.count_nonzero(in_image(shape, width, height)))
        if not cut:
            return ""
        part = "" if cut == count else "partly "
        return f"is {part}outside of its image, and run lengths are without its {counted(cut, 'pixel')} there"
    xs, ys = [x for x, _ in shape.exterior], [y for _, y in shape.exterior]
    if min(*xs, *ys) >= 0 and max(xs) <= width and max(ys) <= height:
        return ""
    part = "" if max(xs) < 0 or max(ys) < 0 or min(xs) >= width or min(ys) >= height else "partly "
    return f"is {part}outside of its image, and run lengths are without what is there"


def filled(polygon: Polygon, width: int, height: int) -> Mask | None:
    """The pixels of a polygon in an image, its holes left out."""
    image = Image.new("1", (width, height))
    draw = ImageDraw.Draw(image)
    if len(polygon.exterior) > 1:
        draw.polygon(list(polygon.exterior), fill=1, outline=1)
    for hole in polygon.holes:
        if len(hole) > 1:
            draw.polygon(list(hole), fill=0, outline=0)
    return cropped(np.asarray(image, bool))


def from_png(text: Any, left: int, top: int) -> Mask | None:
    """A mask from a PNG in base64, deflated or not, as LabelMe has it; of Supervisely's: `blobdir.storedmasks`.

    Raises
    ------
    LabelError
    """
    try:
        data = base64.b64decode(text, validate=False)
    except (binascii.Error, ValueError, TypeError):
        raise LabelError("its mask isn't base64") from None
    try:
        inflater = zlib.decompressobj()
        data = inflater.decompress(data, _MOST_BYTES)
    except zlib.error:
        pass  # a plain PNG
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            bands = image.getbands()
            if image.mode == "P":
                found = np.asarray(image) > 0
            elif "A" in bands:
                found = np.asarray(image.getchannel("A")) > 0
            else:
                found = np.asarray(image.convert("L")) > 0
    except Exception as error:
        raise LabelError("its mask is no PNG that can be read") from error
    mask = cropped(found)
    return None if mask is None else Mask(left + mask.left, top + mask.top, mask.pixels)


def to_png(mask: Mask) -> str:
    """A mask as Supervisely's annotations have it."""
    image = Image.fromarray(mask.pixels.astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 255, 255, 255])
    out = io.BytesIO()
    image.save(out, "PNG", transparency=0)
    return base64.b64encode(zlib.compress(out.getvalue())).decode()
