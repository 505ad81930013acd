r"""Text in pictures: any name in any script, in fonts of this machine.

What is plain ASCII is written in the font that Pillow brings. Anything else is written in the first of the fonts of
`blobdir.drawing.fontfiles` that has its characters: for Latin, Greek, Cyrillic, Hebrew and Arabic that is DejaVu Sans
or Noto Sans where they are there, for Chinese, Japanese and Korean Noto Sans CJK, WenQuanYi Micro Hei or Droid Sans
Fallback, for emoji Noto Color Emoji, and GNU Unifont for nearly all of Unicode.

No character becomes a box. One that no font has is written as its number, ``U+4E2D``, small and underlined, and so is
one that can't be seen: a line break, a space that isn't the plain one, a sign that turns the direction of writing. A
byte that isn't UTF-8 is ``\xFF``. So two names that differ don't look the same, but where letters of two scripts do.

Letters are joined and set from right to left by Raqm where Pillow has it. Without it, what is written from right to
left is turned around here, and its letters aren't joined.
"""

from __future__ import annotations

import hashlib
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

from blobdir.drawing.fontfiles import characters, font_files, is_emoji

if TYPE_CHECKING:
    from collections.abc import Iterable

    from blobdir.drawing.palette import Color

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
BUILTIN = ""
"""The path that stands for the font that Pillow brings."""
_STRIKES = (109, 136, 128, 160, 96, 64, 48, 40, 32, 20)
"""Sizes in which fonts of coloured emoji come."""
_JOINER, _NON_JOINER = "\u200d", "\u200c"
_ELLIPSIS = "…"
_LONG = 400
"""Characters of a text of which parts can't be seen anyway."""


class Run(NamedTuple):
    """Neighbouring characters of one font; `code` where they are the number of one that no font has."""

    text: str
    path: str
    code: bool = False


def can_join() -> bool:
    """Whether letters are joined, and set from right to left, by Pillow."""
    return bool(features.check("raqm"))


@lru_cache(maxsize=1)
def _builtin_characters() -> frozenset[str]:
    font = ImageFont.load_default(16)
    missing = font.getmask("\uffff")
    none = bytes(missing), missing.size
    found = {chr(number) for number in range(0x20, 0x7F)}
    for char in map(chr, (*range(0xA1, 0x180), 0x2013, 0x2014, 0x2026)):
        mask = font.getmask(char)
        if char.isprintable() and (bytes(mask), mask.size) != none and mask.getbbox():
            found.add(char)
    return frozenset(found)


@lru_cache(maxsize=1)
def _files() -> tuple[str, ...]:
    return tuple(font_files())


def has(path: str, char: str) -> bool:
    """Whether a font has a glyph for a character, and one that can be seen."""
    if path == BUILTIN:
        return char in _builtin_characters()
    known, number = characters(path), ord(char)
    at = int(np.searchsorted(known, number))
    if at == len(known) or known[at] != number:
        return False
    return not is_emoji(path) or _is_seen(path, char)


@lru_cache(maxsize=4096)
def _is_seen(path: str, char: str) -> bool:
    """Whether Pillow can draw a glyph: some fonts have coloured ones that it can't."""
    try:
        font, _ = _sized(path, 16)
        return font.getmask(char, mode="RGBA").getbbox() is not None
    except (OSError, ValueError):
        return False


@lru_cache(maxsize=256)
def _sized(path: str, size: int) -> tuple[Font, float]:
    """A font, and by how much what it writes must be made larger to have a size."""
    if path == BUILTIN:
        return ImageFont.load_default(size), 1.0
    engine = ImageFont.Layout.RAQM if can_join() else ImageFont.Layout.BASIC
    try:
        return ImageFont.truetype(path, size, layout_engine=engine), 1.0
    except OSError:
        for strike in _STRIKES:  # only in a few sizes
            try:
                return ImageFont.truetype(path, strike, layout_engine=engine), size / strike
            except OSError:
                continue
        raise


def clusters(text: str) -> list[str]:
    """A text, cut where it may be: between characters with all that is set on them."""
    found: list[str] = []
    for char in text:
        joins = found and (
            unicodedata.category(char) in ("Mn", "Mc", "Me")
            or (char in (_JOINER, _NON_JOINER) and _is_joined(found[-1][-1]))
            or 0x1F3FB <= ord(char) <= 0x1F3FF
            or 0xE0020 <= ord(char) <= 0xE007F
            or (len(found[-1]) > 1 and found[-1][-1] in (_JOINER, _NON_JOINER))
            or (_is_flag(char) and _is_flag(found[-1]))
        )
        if joins:
            found[-1] += char
        else:
            found.append(char)
    return found


def _is_joined(char: str) -> bool:
    """Whether what follows a character can be joined to it: to emoji, Arabic letters, and those of Indian scripts."""
    return (
        unicodedata.category(char) in ("So", "Sk")
        or 0xFE00 <= ord(char) <= 0xFE0F
        or unicodedata.bidirectional(char) == "AL"
        or unicodedata.combining(char) == 9
    )


def _is_flag(text: str) -> bool:
    """Whether it's one half of a flag."""
    return len(text) == 1 and 0x1F1E6 <= ord(text) <= 0x1F1FF


def _is_mark(char: str) -> bool:
    """Whether a character changes how others look, and has no glyph of its own."""
    return 0xFE00 <= ord(char) <= 0xFE0F or (char in (_JOINER, _NON_JOINER) and can_join())


def code_of(char: str) -> str:
    """What stands for a character that can't be written."""
    number = ord(char)
    return f"\\x{number - 0xDC00:02X}" if 0xDC80 <= number <= 0xDCFF else f"U+{number:04X}"


@lru_cache(maxsize=8192)
def runs(text: str) -> tuple[Run, ...]:
    """A text, by the fonts that it's written in, in the order of reading."""
    if all(char in _builtin_characters() for char in text):
        return (Run(text, BUILTIN),) if text else ()
    found: list[Run] = []
    parts = clusters(text)
    for cluster in parts:
        for run in _written(cluster):
            if found and not run.code and not found[-1].code and found[-1].path == run.path:
                found[-1] = Run(found[-1].text + run.text, run.path)
            else:
                found.append(run)
    return tuple(found)


def _written(cluster: str) -> Iterable[Run]:
    """The runs of a cluster: one, if one font has all of it."""
    seen = [char for number, char in enumerate(cluster) if not (number and _is_mark(char))]
    if seen and all(char.isprintable() for char in seen) and (path := _font_of("".join(seen), cluster)) is not None:
        yield Run(cluster, path)
        return
    for char in cluster:
        path = _font_of(char, char) if char.isprintable() and not unicodedata.combining(char) else None
        yield Run(code_of(char), BUILTIN, code=True) if path is None else Run(char, path)


@lru_cache(maxsize=8192)
def _font_of(seen: str, cluster: str) -> str | None:
    """The first font that has all characters; None where none does."""
    files = _files()
    if ord(seen[0]) >= 0x1F000 or "\ufe0f" in cluster:
        files = (*filter(is_emoji, files), *files)
    return next((path for path in (*files, BUILTIN) if all(has(path, char) for char in seen)), None)


def in_order_of_place(text: str, base: str = "") -> str:
    """A text from left to right as it's seen, for fonts that aren't set by Raqm.

    `base` is where it begins, ``L`` or ``R``; else its first letter says so.
    """
    parts = clusters(text)
    sides = [_side(part) for part in parts]
    if "R" not in sides:
        return text
    backwards = (base or next(side for side in sides if side)) == "R"
    strong, pieces = "R" if backwards else "L", list[tuple[str, list[str]]]()
    for number, (part, side) in enumerate(zip(parts, sides, strict=True)):
        after = next((other for other in sides[number:] if other), strong)
        here = side or (pieces[-1][0] if pieces and pieces[-1][0] == after else strong)
        if pieces and pieces[-1][0] == here:
            pieces[-1][1].append(part)
        else:
            pieces.append((here, [part]))
    lines = ["".join(reversed(piece) if side == "R" else piece) for side, piece in pieces]
    return "".join(reversed(lines) if backwards else lines)


def _side(cluster: str) -> str:
    kind = unicodedata.bidirectional(cluster[0])
    return "R" if kind in ("R", "AL") else "L" if kind in ("L", "EN", "AN") else ""


class Typesetter:
    """Writes lines of text of one size.

    Parameters
    ----------
    size : int
        Pixels of an em.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.ascent = round(size * 0.98)
        self.height = round(size * 1.3)
        self._widths: dict[str, float] = {}

    def width(self, text: str) -> float:
        """Pixels that a text takes."""
        found = self._widths.get(text)
        if found is None:
            found = sum(self._run_width(run) for run in runs(text))
            self._widths[text] = found
        return found

    def _font(self, run: Run) -> tuple[Font, float]:
        return _sized(run.path, max(9, round(self.size * 0.75)) if run.code else self.size)

    def _run_width(self, run: Run) -> float:
        font, factor = self._font(run)
        return font.getlength(run.text) * factor + (2 if run.code else 0)

    def draw(
        self, image: Image.Image, x: float, y: float, text: str, ink: Color, *, begins: Literal["", "L", "R"] = ""
    ) -> None:
        """Write a text, its upper left corner at a place, over an RGB image.

        It `begins` at its left or right, as paths do at their left; else its first letter says so. All its runs have
        that direction: one that begins with an Arabic letter has what follows it on its right in a text from the left.
        """
        parts = [*runs(text)]
        sides = [side for run in parts if not run.code for char in run.text if (side := _side(char))]
        begins = begins or ("R" if sides and sides[0] == "R" else "L")
        if begins == "R":
            parts.reverse()
        for run in parts:
            self._draw_run(image, x, y + self.ascent, run, ink, begins)
            x += self._run_width(run)

    def _draw_run(self, image: Image.Image, x: float, base: float, run: Run, ink: Color, begins: str) -> None:
        font, factor = self._font(run)
        draw = ImageDraw.Draw(image)
        shown = run.text if can_join() else in_order_of_place(run.text, begins)
        if run.code:
            draw.text((x + 1, base), shown, font=font, fill=ink, anchor="ls")
            draw.line((x + 1, base + 2, x + font.getlength(shown), base + 2), fill=ink)
        elif not is_emoji(run.path):
            by_raqm = getattr(font, "layout_engine", None) == ImageFont.Layout.RAQM
            direction = ("rtl" if begins == "R" else "ltr") if by_raqm else None
            draw.text((x, base), shown, font=font, fill=ink, anchor="ls", direction=direction)
        else:
            left, top, right, bottom = (int(value) for value in font.getbbox(shown, anchor="ls"))
            if right <= left or bottom <= top:
                return
            drawn = Image.new("RGBA", (right - left, bottom - top))
            ImageDraw.Draw(drawn).text((-left, -top), shown, font=font, fill=ink, anchor="ls", embedded_color=True)
            size = max(1, round(drawn.width * factor)), max(1, round(drawn.height * factor))
            drawn = drawn.resize(size, Image.Resampling.LANCZOS)
            image.paste(drawn, (round(x + left * factor), round(base + top * factor)), drawn)

    def fitting(self, texts: Iterable[str], width: float) -> dict[str, str]:
        """Texts, cut in the middle where they are wider; two that differ stay different.

        Where some come out the same, they are cut at their beginning instead, up to where they differ; where that
        doesn't do, some signs of a checksum are written where something is left out.
        """
        wanted = [*dict.fromkeys(texts)]
        found = {text: self._cut(text, width, _ELLIPSIS) for text in wanted}
        taken: dict[str, list[str]] = {}
        for text, cut in found.items():
            taken.setdefault(cut, []).append(text)
        used = set(taken)
        for cut, same in taken.items():
            if len(same) == 1:
                continue
            ends = self._ends_of(same, width)
            if len(set(ends)) == len(same) and used.isdisjoint(ends):
                used.update(ends)
                found |= zip(same, ends, strict=True)
                continue
            for text in same:
                if text != cut:
                    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=2).hexdigest()
                    found[text] = self._cut(text, width, f"{_ELLIPSIS}{digest}{_ELLIPSIS}")
        return found

    def _ends_of(self, texts: list[str], width: float) -> list[str]:
        """Texts without what they begin with alike, but for as much of it as there is room for."""
        if max(map(len, texts)) > _LONG:
            return []
        parts = [clusters(text) for text in texts]
        alike = next((at for at, some in enumerate(zip(*parts, strict=False)) if len(set(some)) > 1), 0)
        return [self._end_of(own, alike, width) for own in parts]

    def _end_of(self, parts: list[str], last: int, width: float) -> str:
        """A text from a cluster on, up to `last`, as it fits; cut at its end too where not even that does."""
        low = 0
        while low < last:
            middle = (low + last) // 2
            if self.width(_ELLIPSIS + "".join(parts[middle:])) <= width:
                last = middle
            else:
                low = middle + 1
        end = _ELLIPSIS + "".join(parts[last:])
        for count in range(len(parts), last, -1):
            if self.width(end) <= width:
                break
            end = f"{_ELLIPSIS}{''.join(parts[last : count - 1])}{_ELLIPSIS}"
        return end

    def _cut(self, text: str, width: float, between: str) -> str:
        if len(text) < _LONG and self.width(text) <= width:
            return text
        parts = clusters(text)
        low, high = 0, min(len(parts) - 1, _LONG)
        while low < high:  # the most that fits
            middle = (low + high + 1) // 2
            if self.width(_ends(parts, middle, between)) <= width:
                low = middle
            else:
                high = middle - 1
        return _ends(parts, low, between)


def _ends(parts: list[str], kept: int, between: str) -> str:
    head = kept // 2
    return "".join(parts[:head]) + between + "".join(parts[len(parts) - (kept - head) :] if kept > head else ())


@lru_cache(maxsize=64)
def typesetter(size: int) -> Typesetter:
    """The one for a size."""
    return Typesetter(size)
