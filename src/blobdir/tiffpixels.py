"""Samples of TIFF files that Pillow doesn't open, or makes other colours of: as libtiff gives them to the SDK.

Their bytes are had from Pillow as if they were gray pictures, one or one for each colour: samples beside each other
make a wider picture. What they mean is found here:

- Of gray with 16 bits the high byte counts, of colours with 16 bits what is nearest.
- Colours are multiplied by an alpha that isn't multiplied in yet. Gray is only when its alpha lies apart from it; and
  then white is 255, whatever the file says.
- Of gray with more samples, as bands of other kinds of light are written, the first one counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from blobdir import tiffs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

_GRAY: Final = frozenset({tiffs.WHITE_IS_ZERO, tiffs.BLACK_IS_ZERO})
_SAMPLES: Final = frozenset({(colours, count) for colours in _GRAY for count in (1, 2, 3, 4)}) | {
    (tiffs.RGB, 3),
    (tiffs.RGB, 4),
}
_OF_BYTES: Final = _SAMPLES | {(tiffs.CMYK, 4)}
"""Photometric interpretation and number of samples."""
_BYTE, _TWO_BYTES = 8, 16
_NOT_MULTIPLIED: Final = 2
_NO_ALPHA: Final = 0
_COLOURED: Final = 3
_AT_ONCE: Final = 1 << 18
"""Pixels."""
_NEAREST: Final = ((np.arange(1 << 16, dtype=np.uint32) + 128) // 257).astype(np.uint8)
"""Of samples of 16 bits."""


@dataclass(frozen=True)
class Layout:
    """A TIFF file whose samples are had in this way.

    Attributes
    ----------
    data : bytes
        The file.
    directory : Directory
    """

    data: bytes
    directory: tiffs.Directory

    def planes(self) -> list[bytes]:
        """TIFF files of one gray picture each, as wide as all samples of a row.

        Raises
        ------
        OSError
        """
        count = len(self.directory.bits())
        planes, beside = (count, 1) if self.directory.apart() else (1, count)
        changes: tiffs.Changes = dict.fromkeys((tiffs.EXTRA, tiffs.FORMAT, tiffs.COLOURS))
        changes |= {tiffs.PHOTOMETRIC: (tiffs.BLACK_IS_ZERO,), tiffs.SAMPLES: (1,), tiffs.PLANAR: (1,)}
        changes |= {tiffs.BITS: self.directory.bits()[:1], tiffs.PREDICTOR: (1,)}
        for tag in (tiffs.WIDTH, tiffs.TILE_WIDTH):
            changes[tag] = tuple(number * beside for number in self.directory.numbers(tag))
        parts, made = self.directory.parts(), []
        for number in range(planes):
            for tag in (tiffs.OFFSETS, tiffs.COUNTS, tiffs.TILE_OFFSETS, tiffs.TILE_COUNTS):
                changes[tag] = self.directory.numbers(tag)[number * parts : (number + 1) * parts]
            made.append(tiffs.rewritten(self.data, self.directory, changes))
        return made

    def pixels(self, planes: Sequence[NDArray[Any]], *, keep_alpha: bool) -> NDArray[np.uint8]:
        """RGB or RGBA samples, from those of `planes`."""
        (width, height), directory = self.directory.size(), self.directory
        native = [plane.astype(plane.dtype.newbyteorder("="), copy=False) for plane in planes]
        if directory.number(tiffs.PREDICTOR, 1) > 1 and directory.number(tiffs.COMPRESSION, 1) in tiffs.DIFFERENCES:
            native = [self._summed(plane) for plane in native]
        stored = native if directory.apart() else [native[0].reshape(height, width, -1)]
        has_alpha = not self._is_gray() and len(directory.bits()) > _COLOURED
        has_alpha &= directory.number(tiffs.PHOTOMETRIC) == tiffs.RGB and directory.number(tiffs.EXTRA, -1) != _NO_ALPHA
        channels = _COLOURED + (keep_alpha and has_alpha)
        return in_strips(lambda *of: self._seen(np.dstack(of))[:, :, :channels], channels, *stored)

    def _is_gray(self) -> bool:
        return self.directory.number(tiffs.PHOTOMETRIC) in _GRAY

    def _seen(self, samples: NDArray[Any]) -> NDArray[np.uint8]:
        """RGB samples, and alpha where there is one, from those that are stored."""
        colours, gray, apart = self.directory.number(tiffs.PHOTOMETRIC), self._is_gray(), self.directory.apart()
        if samples.dtype != np.uint8:
            samples = (samples >> 8).astype(np.uint8) if gray and not apart else _NEAREST[samples.view(np.uint16)]
        if colours == tiffs.CMYK:
            return _of_cmyk(samples)
        colourful = 1 if gray else _COLOURED
        shown, alpha = samples[:, :, :colourful], samples[:, :, colourful : colourful + 1]
        if (gray and not apart) or samples.shape[2] == 1:
            shown = 255 - shown if colours == tiffs.WHITE_IS_ZERO else shown
        elif self.directory.number(tiffs.EXTRA, -1) == _NOT_MULTIPLIED:
            shown = multiplied(shown, alpha)
        return np.repeat(shown, _COLOURED, axis=2) if gray else np.dstack([shown, alpha])

    def _summed(self, plane: NDArray[Any]) -> NDArray[Any]:
        """Samples that were stored as differences from the pixel before, in each tile."""
        beside = 1 if self.directory.apart() else len(self.directory.bits())
        across = (self.directory.number(tiffs.TILE_WIDTH) or self.directory.size()[0]) * beside
        out = plane.copy()
        for start in range(0, plane.shape[1], across):
            part = out[:, start : start + across]
            for first in range(beside):
                part[:, first::beside] = np.cumsum(part[:, first::beside], axis=1, dtype=plane.dtype)
        return out


def odd_layout(data: bytes, directory: tiffs.Directory) -> Layout | None:
    """How samples of a file are had, if they are had in this way.

    Parameters
    ----------
    data : bytes
        A file of `blobdir.tiffs.plain`.
    directory : Directory
        Of the file.

    Raises
    ------
    OSError
        Its colours lie apart, and nobody puts them together.
    """
    bits, colours = directory.bits(), directory.number(tiffs.PHOTOMETRIC, -1)
    compression, apart = directory.number(tiffs.COMPRESSION, tiffs.UNCOMPRESSED), directory.apart()
    kinds = {_BYTE: _OF_BYTES, _TWO_BYTES: _SAMPLES}.get(bits[0], frozenset()) if len(set(bits)) == 1 else frozenset()
    whole = (colours, len(bits)) in kinds and directory.formats() <= tiffs.WHOLE
    if not whole or not (compression in tiffs.OF_BYTES or (apart and compression == tiffs.JPEG)):
        if apart:
            raise OSError(f"it has {directory.in_words()}, which lie apart from each other; that isn't decoded")
        return None
    pillows = bits[0] == _BYTE and not apart and (colours not in _GRAY or len(bits) == 1)
    return None if pillows else Layout(data, directory)


def in_strips(change: Callable[..., NDArray[np.uint8]], channels: int, *stored: NDArray[Any]) -> NDArray[np.uint8]:
    """What is made of pixels, a few rows at a time: what it takes meanwhile is little.

    Parameters
    ----------
    change : callable
        Makes pixels of rows of `stored`.
    channels : int
        Samples of each.
    *stored : ndarray
    """
    height, width = stored[0].shape[:2]
    out, rows = np.empty((height, width, channels), np.uint8), max(1, _AT_ONCE // width)
    for top in range(0, height, rows):
        out[top : top + rows] = change(*(plane[top : top + rows] for plane in stored))
    return out


def multiplied(shown: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colours multiplied by their alpha, as libtiff does it."""
    return ((shown.astype(np.int32) * alpha + 127) // 255).astype(np.uint8)


def of_cmyk(cmyk: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB of CMYK, with libtiff's formula."""
    return in_strips(_of_cmyk, _COLOURED, cmyk)


def _of_cmyk(cmyk: NDArray[np.uint8]) -> NDArray[np.uint8]:
    light = 255 - cmyk.astype(np.int32)
    return (light[:, :, :3] * light[:, :, 3:] // 255).astype(np.uint8)
