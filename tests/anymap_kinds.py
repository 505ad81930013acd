"""PBM, PGM and PPM files with numbers and comments where they may be, and where they may not."""

from __future__ import annotations

from typing import Final

_SAMPLES: Final = bytes(range(1, 40))
_VALUES: Final = list(range(0, 240, 20))


def _text(values: list[int], brightest: int, kind: bytes = b"P2", size: bytes = b"4 3") -> bytes:
    return b"%s\n%s\n%d\n" % (kind, size, brightest) + b" ".join(b"%d" % value for value in values) + b"\n"


_HEADS: Final = {
    "one line": b"P5 4 3 255 ",
    "a comment": b"P5\n#c\n4 3\n255\n",
    "a comment between": b"P5\n4 #c\n3\n255\n",
    "a comment right behind a number": b"P5\n4#c\n3\n255\n",
    "a comment in a number": b"P5\n1#c\n4 3\n255\n",
    "a comment right behind the brightest": b"P5\n4 3\n255#c\n",
    "a comment behind the brightest": b"P5\n4 3\n255 #c\n",
    "a comment where samples begin": b"P5\n4 3\n255\n#c\n",
    "Windows": b"P5\r\n4 3\r\n255\r\n",
    "two bytes behind the brightest": b"P5\n4 3\n255\r\n",
    "no brightest": b"P5\n4 3\n0\n",
    "no width": b"P5\n0 3\n255\n",
    "too bright": b"P5\n4 3\n70000\n",
    "a sign": b"P5\n-4 3\n255\n",
    "no space": b"P54 3\n255\n",
    "a comment at once": b"P5#c\n4 3\n255\n",
    "a letter between": b"P5\n4x3\n255\n",
    "many zeros": b"P5\n000000000000004 3\n255\n",
    "bits": b"P4\n4 3\n",
    "bits, a comment where samples begin": b"P4\n4 3\n#c\n",
    "bits, a comment right behind a number": b"P4\n4#c\n3\n",
}
_BETWEEN: Final = {
    "a comment right behind a number": b" 7#9\n ",
    "a letter": b" 7x9 ",
    "a plus": b" +7 9 ",
    "a minus": b" -7 9 ",
    "a comma": b" 7,9 ",
    "a comma and a space": b" 7, 9 ",
    "a point": b" 7.5 ",
    "a comment": b" 7 #c\n9 ",
    "comments": b" 7 #c\n#d\r\n9 ",
    "a NUL": b" 7\x009 ",
    "many zeros": b" 0000000000000007 9 ",
    "other spaces": b" 7\x0c9\x0b ",
}
KINDS: Final = {
    **{f"header: {what}": head + _SAMPLES for what, head in _HEADS.items()},
    **{f"text: {what}": b"P2\n4 3\n255\n1 2 3" + text + b"4 5 6 8 10 11 12 13\n" for what, text in _BETWEEN.items()},
    **{f"text to {most}": _text(_VALUES, most) for most in (1, 50, 100, 255, 256, 1000, 40000, 65535)},
    **{f"bright text to {most}": _text([400 * v for v in _VALUES], most) for most in (1, 100, 255, 256, 1000, 65535)},
    **{f"colours to {most}": _text([400 * v for v in _VALUES], most, b"P3", b"2 2") for most in (1, 255, 1000)},
    **{f"binary to {most}": b"P5\n4 3\n%d\n" % most + _SAMPLES for most in (1, 100, 255, 256, 65535)},
    "a huge number": _text([*_VALUES[:5], 20_000_000_000, *_VALUES[6:]], 255),
    "too few": _text(_VALUES[:-1], 255),
    "bits": b"P1\n4 3\n1 0 1 1 0 0 1 1 0 1 0 1\n",
    "dense bits": b"P1\n4 3\n101100110101\n",
    "bits and a comment": b"P1\n4 3\n1 0 #1\n1 1 0 0 1 1 0 1 0 1\n",
    "bits and a comment right behind one": b"P1\n4 3\n1#0\n1 0 1 1 0 0 1 1 0 1 0 1\n",
    "bits of 2": b"P1\n4 3\n1 0 2 1 0 0 1 1 0 1 0 1\n",
    "bits and a letter": b"P1\n4 3\n1x0 1 1 0 0 1 1 0 1 0 1 1 1\n",
    "too few bits": b"P1\n4 3\n1011\n",
}
