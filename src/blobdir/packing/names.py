"""Names of blobs: one rule for all that write them.

``<dataset>-<number>-<digest>.tar``: the digest is that of the tar's bytes. So the same images have the same names
whenever they are packed, and different ones never share a name: projects can lie in one bucket, or in one team's
storage, side by side. A name is given once: it is taken as long as a tar, an offsets file, a backup of one or
a journal has it. Where a checksum would be made for its digits only (`blobdir.imagestore`), they are random.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Final

from blobdir.discovery import layout
from blobdir.inside import read_whole
from blobdir.packing.backups import backed_up
from blobdir.projectlock import JOURNAL

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

SLUG_BYTES: Final = 200
"""Bytes of a name that are its dataset's: number, digest and ``_offsets.pkl`` come after it, and 255 are the most."""
CUTS_URLS: Final = "#?;"
"""What readers of shards that take names for URLs (wids does, of files, too) end the path at; nothing quotes it."""
DIGEST_DIGITS: Final = 8
_WITH_DIGEST: Final = re.compile(rf"(.+?)-[0-9a-f]{{{DIGEST_DIGITS}}}(?:-\d+)?")


def slug_of(dataset: str) -> str:
    """What the names of a dataset's blobs begin with: ``train/datasets/hard`` gives ``train-hard``."""
    odd = (char < " " or char == "\x7f" or char in CUTS_URLS for char in layout.dataset_name(dataset))
    plain = "".join("_" if is_odd else char for char, is_odd in zip(layout.dataset_name(dataset), odd, strict=True))
    name = plain.replace("/", "-").encode("utf-8", "surrogateescape")[:SLUG_BYTES]
    try:
        name.decode()
    except UnicodeDecodeError as error:
        if error.end == len(name) and error.reason == "unexpected end of data":  # a character was cut in two
            name = name[: error.start]
    return name.decode("utf-8", "surrogateescape")


def stem_of(slug: str, number: int, digest: str) -> str:
    """A blob's name without ``.tar``.

    Parameters
    ----------
    slug : str
        See `slug_of`.
    number : int
    digest : str
        SHA-256 of the tar, in hexadecimal digits.
    """
    return f"{slug}-{number:04d}-{digest[:DIGEST_DIGITS]}"


def free_stem(slug: str, digest: str, taken: Container[str]) -> str:
    """`stem_of` the first number that makes a name which isn't taken.

    Parameters
    ----------
    slug, digest : str
    taken : container of str
        Casefolded, see `taken_stems`.
    """
    numbers = {_number(slug, stem) for stem in taken} if isinstance(taken, (set, frozenset)) else set()
    free = (stem_of(slug, number, digest) for number in range(1 << 40) if number not in numbers)
    return next(stem for stem in free if stem.casefold() not in taken)


def _number(slug: str, stem: str) -> int:
    found = re.match(re.escape(slug.casefold()) + r"-(\d{1,9})(?:-[0-9a-z]+)?$", stem)
    return int(found[1]) if found else -1


def renewed_stem(stem: str, digest: str, taken: Container[str]) -> str:
    """Name of a blob that takes the place of another one: the same, but for its digest."""
    found = _WITH_DIGEST.fullmatch(stem)
    base = (found[1] if found else stem).encode("utf-8", "surrogateescape")[: SLUG_BYTES + 12]
    shown = base.decode("utf-8", "surrogateescape")
    names = (f"{shown}-{digest[:DIGEST_DIGITS]}{f'-{i}' if i else ''}" for i in range(1 << 40))
    return next(name for name in names if name.casefold() not in taken)


def stems_of(paths: Iterable[str]) -> set[str]:
    """The stems of blobs, casefolded, that paths of tars, of offsets files, and of backups of those stand for."""
    found = set()
    for path in paths:
        name = os.path.basename(path)
        stem = name.removesuffix(layout.OFFSETS_SUFFIX) if layout.is_offsets(name) else layout.blob_stem(name)
        if stem is None:
            stem = backed_up(name) or None
        if stem is not None:
            found.add(stem.casefold())
    return found


def taken_stems(root: str, of_files: Iterable[str]) -> set[str]:
    """All stems, casefolded, that can't be given to another blob of a project: those of its tars, pickles and journal.

    A blob that is away (on a disk that isn't mounted, say) keeps its name by its pickle, or by a backup of that.

    Parameters
    ----------
    root : str
    of_files : iterable of str
        Those of its files, see `blobdir.packing.surveying`.
    """
    paths: list[str] = []
    try:
        journal = json.loads(read_whole(os.path.join(root, layout.STATE_DIR, JOURNAL), follow=False))
        paths += [str(path) for value in journal.values() if isinstance(value, list) for path in value]
    except (OSError, ValueError, AttributeError, RecursionError):
        pass
    return stems_of(paths) | {*of_files}
