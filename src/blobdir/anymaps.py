"""PBM, PGM and PPM files as OpenCV reads them: Pillow makes other samples of all that don't reach to 255.

What is stored in binary stays as it is, whatever the file says that its brightest sample is; of two bytes the higher
one counts. Of text, samples of up to 255 are stretched to that, those of more are taken for two bytes too; brighter
ones than the brightest are as bright as that. The character behind a number is never read: ``7#9`` is 7 and 9.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from numpy.typing import NDArray

_MAGIC: Final = re.compile(rb"P[1-6]\s")
_COMMENT: Final = rb"#[^\r\n]*+[\r\n]"
_NUMBER: Final = re.compile(rb"(?:\s++|" + _COMMENT + rb")*+([0-9]{1,4000})[\s\S]?")
"""Nothing that was matched is given back: or each blank would take memory."""
_COMMENTS: Final = re.compile(rb"(?:" + _COMMENT + rb"?\s*+)++")
_BLANKS: Final = b" \t\n\r\f\v"
_DIGITS: Final = b"0123456789"
_HEADER: Final = 1 << 13
_MISSING: Final = "samples are missing in it, or are no numbers"
_ONE_BYTE, _TWO_BYTES, _MOST = 255, 65535, (1 << 31) - 1


@dataclass(frozen=True)
class Anymap:
    """Such a file.

    Attributes
    ----------
    width, height, channels : int
    brightest : int
        0: samples are bits, and 1 is black.
    is_text : bool
    start : int
        Where samples begin.
    """

    width: int
    height: int
    channels: int
    brightest: int
    is_text: bool
    start: int

    def pixels(self, data: bytes) -> NDArray[np.uint8]:
        """RGB samples of the file.

        Raises
        ------
        OSError
            Samples are missing, or are no numbers.
        """
        found = (self._text if self.is_text else self._binary)(data)
        return np.repeat(found.reshape(self.height, self.width, self.channels), 3 // self.channels, axis=2)

    def _binary(self, data: bytes) -> NDArray[np.uint8]:
        if not self.brightest:
            across = -(-self.width // 8)
            if len(data) - self.start < across * self.height:
                raise OSError("the image file is truncated")
            rows = np.frombuffer(data, np.uint8, across * self.height, self.start).reshape(self.height, across)
            return np.where(np.unpackbits(rows, axis=1, count=self.width), 0, _ONE_BYTE).astype(np.uint8)
        count = self.width * self.height * self.channels
        wide = 2 if self.brightest > _ONE_BYTE else 1
        if len(data) - self.start < count * wide:
            raise OSError("the image file is truncated")
        return np.frombuffer(data, np.uint8, count * wide, self.start)[::wide]

    def _text(self, data: bytes) -> NDArray[np.uint8]:
        count = self.width * self.height * self.channels
        if count > len(data):
            raise OSError(_MISSING)
        if not self.brightest:
            return _bits(data, self.start, count)
        try:
            samples = _all_numbers(data, self.start, count)
        except ValueError as error:
            raise OSError(_MISSING) from error
        samples = np.minimum(samples, self.brightest)
        wide = self.brightest > _ONE_BYTE
        return (samples >> 8 if wide else samples * _ONE_BYTE // self.brightest).astype(np.uint8)


def anymap_of(file: BinaryIO) -> Anymap | None:
    """What such a file says; None of others.

    Raises
    ------
    OSError
        It begins as one, and says nothing that a picture can have.
    """
    file.seek(0)
    head = file.read(3)
    if not _MAGIC.match(head):
        return None
    head += file.read(_HEADER)
    wanted = 2 if head[1:2] in b"14" else 3
    found = [number for number, _ in zip(_numbers(head, 2), range(wanted), strict=False)]
    if len(found) < wanted or not all(number for number, _ in found) or (*found, (0, 0))[2][0] > _TWO_BYTES:
        raise OSError("its header is damaged")
    brightest = found[2][0] if wanted > 2 else 0
    (width, _), (height, _), (_, start) = found[0], found[1], found[-1]
    return Anymap(width, height, 3 if head[1:2] in b"36" else 1, brightest, head[1:2] in b"123", start)


def _bits(data: bytes, start: int, count: int) -> NDArray[np.uint8]:
    """Samples of a text in which each digit is one, and nothing has to stand between them."""
    text = _COMMENTS.sub(b"", data[start:]).translate(None, _BLANKS)[:count]
    if len(text) < count or not text.isdigit():
        raise OSError(_MISSING)
    return np.where(np.frombuffer(text, np.uint8) == ord("0"), _ONE_BYTE, 0).astype(np.uint8)


def _all_numbers(data: bytes, start: int, count: int) -> NDArray[np.int64]:
    """Numbers of a text: at once, where nothing but blanks stands between them.

    Raises
    ------
    ValueError
        There are fewer.
    """
    text = data[start:]
    if text.translate(None, _BLANKS + _DIGITS):
        return np.fromiter((number for number, _ in _numbers(data, start)), np.int64, count)
    samples: NDArray[np.int64] = np.fromstring(text.strip(_BLANKS) or b"-1", np.int64, sep=" ")[:count]
    if len(samples) < count or not 0 <= samples.min() <= samples.max() <= _MOST:
        raise ValueError
    return samples


def _numbers(data: bytes, at: int) -> Iterator[tuple[int, int]]:
    """Numbers of a text, and where each is over."""
    while (match := _NUMBER.match(data, at)) and (number := int(match[1])) <= _MOST:
        at = match.end()
        yield number, at
