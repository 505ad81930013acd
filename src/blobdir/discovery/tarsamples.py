"""WebDataset's samples in tars, as a project shows images and annotations. Which member goes where is decided here.

A sample are the files of one key, which is a path up to the first dot behind its folders. Its folder is the dataset;
files at the top of a tar are in one that is called as the tar, without the number of the shard.

============================================  ==============================================
part of the sample ``s/k``                    where it's shown
============================================  ==============================================
an image: ``s/k.jpg``                         ``s/img/k.jpg``
``s/k.json``, an annotation by its content    ``s/ann/k.jpg.json``; of several images ``s/ann/k.json``
any other, as ``s/k.cls``, ``s/k.seg.png``    ``s/parts/k.cls``, ``s/parts/k.seg.png``
============================================  ==============================================

An image has one annotation: of ``k.json`` and ``k.JSON`` the second is a part like any other.

Two tars that have one key have two samples: what becomes of them is decided for all of a sample's parts together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from posixpath import basename
from typing import TYPE_CHECKING, Final

from blobdir.annotations import read_annotation
from blobdir.discovery import layout
from blobdir.errors import AnnotationError
from blobdir.filenames import IMAGE_EXTENSIONS, SIDE_EXTENSIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from blobdir.discovery.options import OnConflict

PARTS: Final = "parts"
"""Folder of a dataset for what is neither an image nor an annotation."""
_SHARD: Final = re.compile(r"[-_.]\d+([-_.][0-9a-f]+)*$")
_AT_ONCE: Final = 1000
_IMAGE: Final = frozenset(extension.encode() for extension in IMAGE_EXTENSIONS)
_SIDE: Final = frozenset(extension.encode() for extension in SIDE_EXTENSIONS)
_JSON: Final = b".json"
_NAME_MAX: Final = layout.NAME_MAX_BYTES


@dataclass(slots=True)
class Sample:
    """Files of one key.

    Attributes
    ----------
    dataset : str
        Path.
    key : bytes
        Without folders; empty for a file that has none, and is by itself.
    parts : list of (int, bytes)
        Number of each file, and its name behind the key.
    annotation : int
        Number of the file that is the annotation; -1 where none is.
    """

    dataset: str
    key: bytes
    parts: list[tuple[int, bytes]] = field(default_factory=list)
    annotation: int = -1

    def images(self) -> list[bytes]:
        """What the names of its images have behind the key."""
        return [tail for _, tail in self.parts if self.key and tail.lower() in _IMAGE]

    def places(self) -> dict[bytes, int]:
        """Path at which each file is shown -> its number."""
        images = self.images()
        found = {}
        for number, tail in self.parts:
            name, folder = self.key + tail, PARTS
            if tail in images:
                folder = layout.ITEMS
            elif number == self.annotation:
                own = (self.key + images[0] if len(images) == 1 else self.key) + _JSON
                name, folder = (own, layout.ANNOTATIONS) if len(own) <= _NAME_MAX else (name, PARTS)
            found[layout.join(self.dataset, folder).encode("utf-8", "surrogateescape") + b"/" + name] = number
        return found


def samples_of(paths: Sequence[bytes], tar: str) -> list[Sample]:
    """The samples of a tar, in the order in which they begin.

    Parameters
    ----------
    paths : sequence of bytes
        Of its files.
    tar : str
        Its path.
    """
    found: dict[tuple[bytes, bytes], Sample] = {}
    top, nested = dataset_of(tar), {_nested(path.rpartition(b"/")[0]) for path in paths}
    while top in nested:  # a folder of the tar is called so as well
        top += "_"
    for number, path in enumerate(paths):
        folder, _, base = path.rpartition(b"/")
        key, dot, tail = base.partition(b".")
        if not key or not dot:
            key, dot, tail = b"", b"", base
        # What has no key is a sample by itself: its name stands for one, with what no key has in it.
        known = folder, key or b"." + base
        if known not in found:
            found[known] = Sample(_nested(folder) or top, key)
        found[known].parts.append((number, dot + tail))
    return list(found.values())


def dataset_of(tar: str) -> str:
    """Dataset of what lies at the top of a tar: ``x/train-000017.tar`` is ``train``."""
    stem = basename(tar)
    stem = stem[: -len(".tar")] if stem.lower().endswith(".tar") else stem
    name = _SHARD.sub("", stem) or stem
    return f"{PARTS}-{name}" if name in (layout.ITEMS, layout.ANNOTATIONS, layout.BLOB_DIR, layout.STATE_DIR) else name


def _nested(folder: bytes) -> str:
    """Path of the dataset of a folder, as a project nests them; no folder of files of one lies in another."""
    return f"/{layout.NESTED}/".join(folder.decode("utf-8", "surrogateescape").split("/"))


def are_samples(samples: Iterable[Sample]) -> bool:
    """Whether a tar is one of samples: at least half of its images have a part beside them that goes with images."""
    images = beside = 0
    for sample in samples:
        if sample.images():
            images += 1
            beside += any(tail[tail.rfind(b".") :].lower() in _SIDE for _, tail in sample.parts)
    return 0 < images <= 2 * beside


def find_annotations(samples: Iterable[Sample], read: Callable[[list[int]], list[bytes]]) -> None:
    """Find out which samples of images have an annotation; `read` gives the bytes of files by their numbers.

    Of several, as of ``.json`` and ``.JSON``, it's the first of those that are spelled in lower case, else the first.
    """
    asked: list[tuple[Sample, int, bytes]] = []
    for sample in samples:
        if sample.images():
            asked += [(sample, number, tail) for number, tail in sample.parts if tail.lower() == _JSON]
    for first in range(0, len(asked), _AT_ONCE):
        some = asked[first : first + _AT_ONCE]
        for (sample, number, tail), data in zip(some, read([number for _, number, _ in some]), strict=True):
            if (sample.annotation < 0 or tail == _JSON) and _is_annotation(data):
                sample.annotation = number


def _is_annotation(data: bytes) -> bool:
    try:
        read_annotation(data)
    except AnnotationError:
        return False
    return True


@dataclass(slots=True)
class Doubles:
    """What becomes of samples of one key in several tars.

    Attributes
    ----------
    left_out : dict of int to int
        Tar -> how many of its samples aren't shown.
    clashes : list of (Sample, int, Sample, int)
        Samples of which none is shown, each with its tar.
    """

    left_out: dict[int, int] = field(default_factory=dict)
    clashes: list[tuple[Sample, int, Sample, int]] = field(default_factory=list)


def decide(tars: list[list[Sample]], on_conflict: OnConflict) -> Doubles:
    """Have each key be there once: samples are left out of the lists, or get another key.

    With ``error``, two samples that have the same parts stay: whether these are the same is decided part by part. Two
    of different parts would be mixed up by that, and neither stays.
    """
    found = Doubles()
    known: dict[tuple[str, bytes], tuple[int, Sample]] = {}
    gone: set[int] = set()
    order = range(len(tars) - 1, -1, -1) if on_conflict == "replace" else range(len(tars))
    for number in order:
        kept = []
        for sample in tars[number]:
            name = sample.dataset, sample.key or b"." + sample.parts[0][1]
            other = known.setdefault(name, (number, sample))
            if other[1] is sample or not sample.key:
                kept.append(sample)
            elif on_conflict == "rename":
                kept.append(_renamed(sample, known, number))
            elif on_conflict == "error" and id(other[1]) not in gone and _shape(other[1]) == _shape(sample):
                kept.append(sample)
            elif on_conflict == "error":
                found.clashes.append((other[1], other[0], sample, number))
                gone.add(id(other[1]))
            else:
                found.left_out[number] = found.left_out.get(number, 0) + 1
        tars[number] = kept
    clashing = {(sample.dataset, sample.key) for sample, *_ in found.clashes}
    for samples in tars if clashing else ():
        samples[:] = [sample for sample in samples if (sample.dataset, sample.key) not in clashing]
    return found


def _shape(sample: Sample) -> tuple[list[bytes], list[bytes]]:
    annotation = [tail for number, tail in sample.parts if number == sample.annotation]
    return annotation, sorted(tail for _, tail in sample.parts)


def _renamed(sample: Sample, known: dict[tuple[str, bytes], tuple[int, Sample]], tar: int) -> Sample:
    number = 1
    while (sample.dataset, key := b"%b_%d" % (sample.key, number)) in known:
        number += 1
    renamed = Sample(sample.dataset, key, sample.parts, sample.annotation)
    known[sample.dataset, key] = tar, renamed
    return renamed
