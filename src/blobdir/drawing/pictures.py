"""Which files pictures can be written to, and writing them: whole or not at all."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, Final

from PIL import Image, features

from blobdir.discovery import layout
from blobdir.drawing.document import document
from blobdir.durable import write_whole
from blobdir.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from blobdir.project import Project

FORMATS: Final = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".pdf": "PDF",
    ".html": "HTML",
    ".htm": "HTML",
}
"""Ending -> format."""
STDOUT: Final = "-"
_SIDES: Final = {"JPEG": 65_500, "WEBP": 16_383, "PDF": 65_500}
"""Most pixels of a side; of PDF, which has JPEG in it, on a page."""
MAX_PIXELS: Final = 600_000_000
"""Most pixels of a picture: it takes three bytes of memory for each."""


def picture_format(path: str | os.PathLike[str], *, html: bool = False, stdout: bool = True) -> str:
    """Format of a file by the ending of its name; ``-``, standard output, gets PNG.

    Parameters
    ----------
    path : str or path
    html : bool
        Whether a page can be written.
    stdout : bool
        Whether ``-`` is standard output, which a terminal must not be.

    Raises
    ------
    UsageError
        Nothing can be written to such a name, or Pillow can't write the format here; or ``-`` is a terminal.
    """
    name = os.fspath(path)
    if name == STDOUT:
        if not stdout:
            raise UsageError("-: standard output gets the counts: name a file for the picture")
        if sys.stdout.isatty():
            raise UsageError("-: standard output is a terminal, and a picture isn't text: name a file")
        return "PNG"
    ending = os.path.splitext(name)[1].lower()
    known = [key for key, value in FORMATS.items() if html or value != "HTML"]
    if ending not in known:
        shown = f"pictures can't be written as {ending}" if ending else "its name has no ending"
        raise UsageError(f"{name}: {shown}; there are {', '.join(known)}")
    kind = FORMATS[ending]
    if kind == "WEBP" and not features.check("webp"):
        raise UsageError(f"{name}: Pillow was built without WebP on this machine; .png always works")
    folder = os.path.dirname(os.path.realpath(name))
    if not os.path.isdir(folder):
        raise UsageError(f"{name}: there is no folder {folder}")
    if os.path.isdir(name):
        raise UsageError(f"{name}: is a folder")
    return kind


def refuse_own(project: Project, path: str | os.PathLike[str]) -> None:
    """Refuse to put a picture in the place of a file of a dataset, or among its images.

    Raises
    ------
    UsageError
    """
    root, name = project.tree.storage.directory, os.fspath(path)
    if not root or name == STDOUT:
        return
    place = os.path.relpath(os.path.realpath(name), os.path.realpath(root))
    datasets = project.tree.index.header.datasets
    of_dataset = any(place.startswith(f"{dataset}/") for dataset in datasets)
    is_image = any(place.startswith(f"{dataset}/{layout.ITEMS}/") for dataset in datasets)
    if place == layout.META or is_image or (of_dataset and os.path.lexists(os.path.join(root, place))):
        raise UsageError(f"{name}: would be a file of the project that is drawn; choose a place outside its datasets")


def check_size(size: tuple[int, int], kind: str, advice: str) -> None:
    """Refuse a picture that is too large for its format, before anything is drawn.

    Raises
    ------
    UsageError
    """
    width, height = size
    most = _SIDES.get(kind, 0)
    if most and max(size) > most:
        raise UsageError(
            f"the picture would have {width:,} x {height:,} pixels, and {kind} has {most:,} a side at most: {advice}"
        )
    if width * height > MAX_PIXELS:
        raise UsageError(f"the picture would have {width:,} x {height:,} pixels: {advice}")


def encoded(pages: Iterable[Image.Image], kind: str) -> Iterator[bytes]:
    """A file of one picture, or of several pages for PDF, in pieces."""
    if kind == "PDF":
        yield from document(pages)
        return
    file = io.BytesIO()
    first = next(iter(pages))
    if kind == "JPEG":
        first.save(file, "JPEG", quality=92, subsampling=0)
    elif kind == "WEBP":
        first.save(file, "WEBP", quality=92)
    elif kind == "TIFF":
        first.save(file, "TIFF", compression="tiff_adobe_deflate")
    else:
        first.save(file, "PNG")
    yield file.getvalue()


def write_bytes(path: str | os.PathLike[str], pieces: Iterable[bytes]) -> None:
    """Write a file that appears whole or not at all; or to standard output.

    Raises
    ------
    OSError
    """
    if os.fspath(path) != STDOUT:
        write_whole(path, pieces)
        return
    sys.stdout.flush()
    sys.stdout.buffer.writelines(pieces)
    sys.stdout.buffer.flush()
