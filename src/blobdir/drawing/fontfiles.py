"""Font files of this machine, and which characters they have."""

from __future__ import annotations

import os
import re
import struct
import subprocess
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

FONTS: Final = (
    "DejaVuSans",
    "NotoSans-Regular",
    "NotoSans",
    "LiberationSans-Regular",
    "FreeSans",
    "Arial",
    "NotoSansCJK-Regular",
    "NotoSansCJK",
    "SourceHanSans",
    "wqy-microhei",
    "DroidSansFallbackFull",
    "DroidSansFallback",
    "NotoSansArabic-Regular",
    "NotoSansDevanagari-Regular",
)
"""Asked first, in this order; then all other upright sans-serif fonts, the others, and GNU Unifont at the end."""
EMOJI: Final = ("NotoColorEmoji", "AppleColorEmoji", "NotoEmoji", "Symbola")
_LAST = ("unifont", "unifont_upper")
_NONE = re.compile(r"lastresort|adobeblank|sample|_csur|tofu|barcode|wingding|webding", re.IGNORECASE)
"""Fonts in which a character looks like something else."""
_STYLES = re.compile(r"bold|ital|obliq|mono|serif|light|thin|black|cond|narrow|semi|medium|extra", re.IGNORECASE)
_MAX_TABLE = 16 << 20


def font_files() -> list[str]:
    """Paths of the fonts of this machine, the best first: those of fontconfig, or of the folders it looks into."""
    return sorted({*_of_fontconfig(), *_of_folders()}, key=_rank)


def _rank(path: str) -> tuple[int, int, str, str]:
    stem = os.path.splitext(os.path.basename(path))[0]
    if stem in FONTS:
        return FONTS.index(stem), 0, stem, path
    if stem in EMOJI:
        return len(FONTS) + EMOJI.index(stem), 0, stem, path
    rest = len(FONTS) + len(EMOJI)
    if stem in _LAST:
        return rest + 100 + _LAST.index(stem), 0, stem, path
    styles = len(_STYLES.findall(stem.replace("Sans", "").replace("sans", "")))
    return rest + min(styles, 50), len(stem), stem, path


def is_emoji(path: str) -> bool:
    """Whether it's a font of emoji, by its name."""
    return os.path.splitext(os.path.basename(path))[0] in EMOJI


def _fits(path: str) -> bool:
    return path.lower().endswith((".ttf", ".otf", ".ttc", ".otc")) and not _NONE.search(os.path.basename(path))


def _of_fontconfig() -> list[str]:
    try:
        done = subprocess.run(
            ["fc-list", "--format", "%{file}\n"],  # noqa: S607  # the one of PATH
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [path for path in os.fsdecode(done.stdout).split("\n") if _fits(path)]


def _of_folders() -> Iterator[str]:
    home = os.path.expanduser("~")
    data = os.environ.get("XDG_DATA_HOME") or os.path.join(home, ".local/share")
    for root in (
        "/usr/share/fonts",
        "/usr/local/share/fonts",
        os.path.join(data, "fonts"),
        os.path.join(home, ".fonts"),
    ):
        for folder, _, names in os.walk(root):
            yield from (path for name in names if _fits(path := os.path.join(folder, name)))


@lru_cache(maxsize=512)
def characters(path: str) -> NDArray[np.uint32]:
    """Code points that a font has a glyph for, sorted; none where it can't be read.

    Reads the ``cmap`` table, formats 4, 6, 10 and 12 (OpenType 1.9), of the first font of a collection.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(16)
            start = struct.unpack_from(">I", head, 12)[0] if head[:4] == b"ttcf" else 0
            file.seek(start)
            (count,) = struct.unpack(">4xH6x", file.read(12))
            for _ in range(count):
                tag, offset, size = struct.unpack(">4s4xII", file.read(16))
                if tag == b"cmap" and size <= _MAX_TABLE:
                    file.seek(offset)
                    return np.unique(_of_cmap(file.read(size)))
    except (OSError, struct.error, ValueError, IndexError):
        pass
    return np.empty(0, np.uint32)


def _of_cmap(table: bytes) -> NDArray[np.uint32]:
    """Code points of the fullest subtable for Unicode."""
    (count,) = struct.unpack_from(">2xH", table)
    best = np.empty(0, np.uint32)
    for number in range(min(count, 64)):
        platform, encoding, offset = struct.unpack_from(">HHI", table, 4 + 8 * number)
        if platform == 0 or (platform, encoding) in ((3, 1), (3, 10)):
            found = _of_subtable(table, offset)
            best = found if len(found) > len(best) else best
    return best


def _of_subtable(table: bytes, at: int) -> NDArray[np.uint32]:
    (kind,) = struct.unpack_from(">H", table, at)
    if kind == 4:
        return _of_segments(table, at)
    if kind == 6:
        first, count = struct.unpack_from(">6xHH", table, at)
        return _listed(table, at + 10, first, count)
    if kind == 10:
        first, count = struct.unpack_from(">12xII", table, at)
        return _listed(table, at + 20, first, count)
    if kind == 12:
        (count,) = struct.unpack_from(">12xI", table, at)
        groups = np.frombuffer(table, ">u4", 3 * count, at + 16).reshape(-1, 3).astype(np.int64)
        return _ranges(groups[:, 0], groups[:, 1])
    return np.empty(0, np.uint32)


def _listed(table: bytes, at: int, first: int, count: int) -> NDArray[np.uint32]:
    points = np.arange(first, first + min(count, 0x110000), dtype=np.uint32)
    found: NDArray[np.uint32] = points[np.frombuffer(table, ">u2", len(points), at) != 0]
    return found


def _ranges(first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.uint32]:
    if ((last < first) | (last > 0x10FFFF)).any() or (last - first + 1).sum() > 0x110000:
        raise ValueError("ranges of characters that overlap")
    parts = [np.arange(low, high + 1, dtype=np.uint32) for low, high in zip(first.tolist(), last.tolist(), strict=True)]
    return np.concatenate(parts) if parts else np.empty(0, np.uint32)


def _of_segments(table: bytes, at: int) -> NDArray[np.uint32]:
    (twice,) = struct.unpack_from(">6xH", table, at)
    count = twice // 2
    ends = np.frombuffer(table, ">u2", count, at + 14)
    starts = np.frombuffer(table, ">u2", count, at + 16 + twice)
    deltas = np.frombuffer(table, ">u2", count, at + 16 + 2 * twice)
    offsets = np.frombuffer(table, ">u2", count, at + 16 + 3 * twice)
    found = []
    for number in range(count):
        low, high, delta, offset = (int(column[number]) for column in (starts, ends, deltas, offsets))
        points = np.arange(low, high + 1, dtype=np.uint32)
        if offset:
            place = at + 16 + 3 * twice + 2 * number + offset
            glyphs = np.frombuffer(table, ">u2", max(0, min(len(points), (len(table) - place) // 2)), place)
            points = points[: len(glyphs)][glyphs != 0]
        else:
            points = points[(points + delta) % 65536 != 0]
        found.append(points[points != 0xFFFF])
    return np.concatenate(found) if found else np.empty(0, np.uint32)
