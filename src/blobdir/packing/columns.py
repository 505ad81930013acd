"""Columns of texts: a million paths in as many bytes as they have, instead of a million objects."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WIDEST_BYTES = 128 << 20
"""Bytes up to which texts are sorted side by side, each as wide as the widest."""


class TextColumn(Sequence[str]):
    """Texts that are appended, read and sorted, not changed. A slice shares the bytes; pickled, it takes only its own.

    Texts are spelled as the file system does, so names that aren't UTF-8 are kept.
    """

    __slots__ = ("_arena", "_first", "_starts", "_stop")

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._arena = bytearray()
        self._starts = array("q", [0])
        self._first, self._stop = 0, 0
        for text in texts:
            self.append(text)

    def append(self, text: str) -> None:
        """Add a text to a column that isn't a slice of another."""
        self._arena += text.encode("utf-8", "surrogateescape")
        self._starts.append(len(self._arena))
        self._stop += 1

    def __len__(self) -> int:
        return self._stop - self._first

    @overload
    def __getitem__(self, i: int) -> str: ...
    @overload
    def __getitem__(self, i: slice) -> TextColumn: ...
    def __getitem__(self, i: int | slice) -> str | TextColumn:
        if isinstance(i, slice):
            first, stop, step = i.indices(len(self))
            if step != 1:
                raise ValueError("a slice of a column has steps of 1")
            return self._made(self._arena, self._starts, self._first + first, self._first + max(first, stop))
        if not -len(self) <= i < len(self):
            raise IndexError(i)
        return self.spelled(i % len(self)).decode("utf-8", "surrogateescape")

    def spelled(self, i: int) -> bytes:
        """Bytes of a text."""
        i += self._first
        return bytes(self._arena[self._starts[i] : self._starts[i + 1]])

    def __iter__(self) -> Iterator[str]:
        for i in range(len(self)):
            yield self.spelled(i).decode("utf-8", "surrogateescape")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(str.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]  # it grows

    def __repr__(self) -> str:
        return f"<{len(self)} texts>"

    def joined(self) -> bytes:
        """All texts, each followed by a NUL."""
        lengths = self.lengths()
        joined = np.zeros(int(lengths.sum()) + len(self), np.uint8)
        inside = np.ones(len(joined), bool)
        inside[np.cumsum(lengths + 1) - 1] = False
        joined[inside] = self._own()
        del inside
        return joined.tobytes()

    def _own(self) -> NDArray[np.uint8]:
        """Bytes of all texts, one after the other."""
        first, last = self._starts[self._first], self._starts[self._stop]
        return np.frombuffer(bytes(memoryview(self._arena)[first:last]), np.uint8)

    def lengths(self) -> NDArray[np.int64]:
        """Bytes of each text."""
        starts = np.array(self._starts[self._first : self._stop + 1], np.int64)
        return starts[1:] - starts[:-1]

    def order(self) -> NDArray[np.int64]:
        """Numbers of the texts, sorted by their bytes; equal ones in the order in which they are."""
        lengths = self.lengths()
        width = int(lengths.max(initial=1))
        if width * len(self) > _WIDEST_BYTES:
            return np.array(sorted(range(len(self)), key=self.spelled), np.int64)
        texts = self._side_by_side(lengths, max(1, width))
        if (texts[1:] > texts[:-1]).all():
            return np.arange(len(self), dtype=np.int64)
        return np.argsort(texts, kind="stable")

    def _side_by_side(self, lengths: NDArray[np.int64], width: int) -> NDArray[np.bytes_]:
        cells = np.zeros((len(self), width), np.uint8)
        cells[np.arange(width) < lengths[:, None]] = self._own()
        return cells.view(f"S{width}")[:, 0]

    def take(self, order: Iterable[int]) -> TextColumn:
        """Texts in another order, or some of them."""
        taken = TextColumn()
        for i in order:
            taken._arena += self.spelled(i)
            taken._starts.append(len(taken._arena))
        taken._stop = len(taken._starts) - 1
        return taken

    @classmethod
    def _made(cls, arena: bytearray, starts: array[int], first: int, stop: int) -> TextColumn:
        column = cls()
        column._arena, column._starts, column._first, column._stop = arena, starts, first, stop
        return column

    def __reduce__(self) -> tuple[Any, ...]:
        base = self._starts[self._first]
        starts = array("q", (start - base for start in self._starts[self._first : self._stop + 1]))
        return self._made, (self._arena[base : self._starts[self._stop]], starts, 0, len(self))
