"""A document in PDF with a picture on each page, written page by page: no more than one is in memory."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from PIL import Image

_CATALOG, _PAGES, _FIRST = 1, 2, 3
"""Numbers of objects; each page has three."""
_POINTS: Final = 0.5
"""Of a pixel: 144 of them are an inch."""
_QUALITY: Final = 92


def document(pages: Iterable[Image.Image]) -> Iterator[bytes]:
    """The document, in pieces.

    Parameters
    ----------
    pages : iterable of Image
        RGB.
    """
    places: dict[int, int] = {}
    at = 0

    def placed(number: int, content: bytes) -> bytes:
        nonlocal at
        places[number] = at
        piece = b"%d 0 obj\n%b\nendobj\n" % (number, content)
        at += len(piece)
        return piece

    header = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
    at = len(header)
    yield header
    count = 0
    for page in pages:
        picture, drawing, number = (_FIRST + 3 * count + add for add in range(3))
        width, height = page.width * _POINTS, page.height * _POINTS
        yield placed(picture, _picture(page))
        yield placed(drawing, _stream(b"", b"q %.2f 0 0 %.2f 0 0 cm /picture Do Q" % (width, height)))
        yield placed(
            number,
            b"<< /Type /Page /Parent %d 0 R /MediaBox [0 0 %.2f %.2f] /Contents %d 0 R "
            b"/Resources << /XObject << /picture %d 0 R >> >> >>" % (_PAGES, width, height, drawing, picture),
        )
        count += 1
    kids = b" ".join(b"%d 0 R" % (_FIRST + 3 * page + 2) for page in range(count))
    yield placed(_PAGES, b"<< /Type /Pages /Count %d /Kids [%b] >>" % (count, kids))
    yield placed(_CATALOG, b"<< /Type /Catalog /Pages %d 0 R >>" % _PAGES)
    lines = [b"%010d 00000 n \n" % places[number] for number in sorted(places)]
    yield b"xref\n0 %d\n0000000000 65535 f \n%b" % (len(lines) + 1, b"".join(lines))
    yield b"trailer\n<< /Size %d /Root %d 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(lines) + 1, _CATALOG, at)


def _stream(about: bytes, data: bytes) -> bytes:
    return b"<< %b/Length %d >>\nstream\n%b\nendstream" % (about, len(data), data)


def _picture(page: Image.Image) -> bytes:
    file = io.BytesIO()
    page.save(file, "JPEG", quality=_QUALITY)
    about = (
        b"/Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceRGB /BitsPerComponent 8 " % page.size
    )
    return _stream(about + b"/Filter /DCTDecode ", file.getvalue())
