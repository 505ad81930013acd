"""Whether annotations say the sizes that their images are shown with."""

from __future__ import annotations

from contextlib import suppress
from io import BufferedReader, RawIOBase
from posixpath import splitext
from typing import TYPE_CHECKING, Any

from blobdir.annotations import read_annotation
from blobdir.discovery import layout
from blobdir.errors import BlobdirError
from blobdir.images import shown_size
from blobdir.memberfile import place_of

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

    from blobdir.loosefiles import OpenFile
    from blobdir.packing.edited import Edited


def size_fault(annotation: dict[str, Any], size: tuple[int, int]) -> str:
    """What is wrong with the size in a sound annotation of an image that is shown so wide and high; or nothing."""
    says = annotation["size"]["width"], annotation["size"]["height"]
    if says == size:
        return ""
    turned = ", since EXIF turns it" if says == size[::-1] else ""
    return f"says {says[0]} x {says[1]}, and its image is shown {size[0]} wide and {size[1]} high{turned}"


def size_fault_of(annotation: bytes | dict[str, Any], image: str | os.PathLike[str] | BinaryIO) -> str:
    """`size_fault` of files; nothing where one of them isn't what it must be: that is said where it's looked at."""
    with suppress(BlobdirError, OSError):
        return size_fault(read_annotation(annotation), shown_size(image))
    return ""


def wrong_sizes(
    edit: Edited, images: Iterable[str], files: Iterable[str], opened: Callable[[str], BinaryIO]
) -> Iterator[str]:
    """What is wrong with annotations that don't say how large their image is shown, where one of both was written.

    Parameters
    ----------
    edit : Edited
    images, files : iterable of str
        Paths of what was written: images, and files of which some may be annotations.
    opened : callable
        Opens an image, as it would be.
    """
    pairs = dict.fromkeys(images, "")
    for image in pairs:
        dataset, name = edit.places.of(image)
        both = (f"{dataset}/{layout.ANNOTATIONS}/{base}.json" for base in (name, splitext(name)[0]))
        pairs[image] = next(filter(edit.exists, both), "")
    for path in files:
        dataset, name = edit.places.of(path, layout.ANNOTATIONS)
        if dataset and edit.exists(image := f"{dataset}/{layout.ITEMS}/{name.removesuffix('.json')}"):
            pairs.setdefault(image, path)
    for image, path in pairs.items():
        if path:
            with suppress(BlobdirError, OSError):
                if fault := size_fault_of(edit.read(path), opened(image)):
                    yield f"{path}: {fault}"


class Stream(RawIOBase):
    """A file of a tree as Pillow wants one: only what is asked for is read."""

    def __init__(self, opened: OpenFile) -> None:
        self._opened, self._at = opened, 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a byte; OSError, `EINVAL`, where that lies before the beginning."""
        self._at = place_of(offset, whence, self._at, self._opened.size)
        return self._at

    def tell(self) -> int:
        """The byte where it is."""
        return self._at

    def readinto(self, into: Any) -> int:
        """Read on."""
        data = self._opened.read(self._at, min(self._at + len(into), self._opened.size))
        into[: len(data)] = data
        self._at += len(data)
        return len(data)


def stream(opened: OpenFile) -> BinaryIO:
    """A file of a tree, to be read as one that is open."""
    return BufferedReader(Stream(opened))
