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

There may be millions of them, in many tars, and all must be known before one is decided on. So they're held in columns,
and made into objects one at a time; only what may have the key of another one, by a hash, is looked at as such.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from itertools import islice
from posixpath import basename
from typing import TYPE_CHECKING, Final

import numpy as np

from blobdir.annotations import read_annotation
from blobdir.discovery import layout
from blobdir.errors import AnnotationError
from blobdir.filenames import IMAGE_EXTENSIONS, SIDE_EXTENSIONS
from blobdir.nametable import pack_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

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
        return [tail for _, tail in self.parts if tail.lower() in _IMAGE] if self.key else []

    def places(self) -> Iterator[tuple[bytes, int]]:
        """Path at which each file is shown, and its number."""
        images = self.images()
        above = _encode(self.dataset)
        for number, tail in self.parts:
            name, folder = self.key + tail, PARTS
            if tail in images:
                folder = layout.ITEMS
            elif number == self.annotation:
                own = (self.key + images[0] if len(images) == 1 else self.key) + _JSON
                name, folder = (own, layout.ANNOTATIONS) if len(own) <= _NAME_MAX else (name, PARTS)
            yield b"%b/%b/%b" % (above, folder.encode(), name), number


class Samples:
    """The samples of a tar, in the order in which they begin: in columns, and as objects one at a time.

    Parameters
    ----------
    paths : FilePaths
        Of its files.
    tar : str
        Its path.
    """

    def __init__(self, paths: FilePaths, tar: str) -> None:
        self._paths = paths
        names = paths.all()
        begins = [name.rfind(b"/") + 1 for name in names]
        ends = [_key_end(name, begin) for name, begin in zip(names, begins, strict=True)]
        self._begin, self._end = (np.array(cut, np.uint16) for cut in (begins, ends))
        folders = {name[: max(0, begin - 1)] for name, begin in zip(names, begins, strict=True)}
        top, nested = dataset_of(tar), {folder: _nested(folder) for folder in folders}
        while top in nested.values():  # a folder of the tar is called so as well
            top += "_"
        self._datasets = {folder: dataset or top for folder, dataset in nested.items()}
        self._order, self._first = _grouped(names, begins, ends)
        self._annotation = np.full(len(self._first) - 1, -1, np.int32)
        self._left = np.zeros(len(self._first) - 1, bool)
        self._keys: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self._first) - 1

    def __getitem__(self, number: int) -> Sample:
        return next(sample for _, sample in self._some(np.array([number])))

    def __iter__(self) -> Iterator[Sample]:
        """Those that are shown."""
        return (sample for _, sample in self._some(np.flatnonzero(~self._left)))

    def numbered(self) -> Iterator[tuple[int, Sample]]:
        """All of them, with their numbers."""
        return self._some(np.arange(len(self)))

    def _some(self, numbers: NDArray[np.int64]) -> Iterator[tuple[int, Sample]]:
        """Samples of some numbers. Columns are read so many at a time: one by one takes longer."""
        read, datasets, keys = self._paths.between, self._datasets, self._keys
        for low in range(0, len(numbers), _AT_ONCE):
            some = numbers[low : low + _AT_ONCE]
            counts = self._first[some + 1] - self._first[some]
            before = np.cumsum(counts) - counts
            files = self._order[np.arange(int(counts.sum())) + np.repeat(self._first[some] - before, counts)]
            starts, stops = self._paths.places(files)
            begins, ends = self._begin[files].tolist(), self._end[files].tolist()
            file, at = files.tolist(), 0
            for number, count, annotation in zip(
                some.tolist(), counts.tolist(), self._annotation[some].tolist(), strict=True
            ):
                begin, end = begins[at], ends[at]
                path = read(starts[at], stops[at])
                parts = [(file[at], path[end:])]
                parts += [(file[i], read(starts[i] + end, stops[i])) for i in range(at + 1, at + count)]
                key = keys.get(number) or path[begin:end]
                yield number, Sample(datasets[path[: begin - 1] if begin else b""], key, parts, annotation)
                at += count

    def annotate(self, number: int, file: int) -> None:
        """Have a file be the annotation of a sample."""
        self._annotation[number] = file

    def leave_out(self, number: int) -> None:
        """Have a sample not be shown."""
        self._left[number] = True

    def rename(self, number: int, key: bytes) -> None:
        """Give a sample another key."""
        self._keys[number] = key

    def hashes(self) -> NDArray[np.int64]:
        """Numbers that are the same for samples of one dataset and key; those without a key get some of their own."""
        said = ((one.dataset, one.key or one.parts[0][1]) for _, one in self.numbered())
        return np.fromiter(map(hash, said), np.int64, len(self))


class FilePaths:
    """Paths of files, in one byte array.

    Parameters
    ----------
    paths : sequence of bytes
    """

    def __init__(self, paths: Sequence[bytes]) -> None:
        arena, starts = pack_names(paths)
        self._arena, self._starts = arena.tobytes(), starts

    def __len__(self) -> int:
        return len(self._starts) - 1

    def places(self, numbers: NDArray[np.int32]) -> tuple[list[int], list[int]]:
        """Where the paths of some files begin and end."""
        return self._starts[numbers].tolist(), (self._starts[numbers + 1] - 1).tolist()

    def between(self, start: int, stop: int) -> bytes:
        """What lies between two places."""
        return self._arena[start:stop]

    def all(self) -> list[bytes]:
        """Each as an object."""
        return self._arena.split(b"\0")[:-1]


def _key_end(path: bytes, begin: int) -> int:
    """Where the key ends, which begins behind the folders; there, where it has none."""
    dot = path.find(b".", begin)
    return max(dot, begin)


def _grouped(names: list[bytes], begins: list[int], ends: list[int]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Numbers of files, those of one key together in the order in which they begin; and where each key does."""

    def key(i: int) -> bytes:
        # What has no key is a sample by itself: its name stands for one, with what no key has in it.
        return names[i][: ends[i]] if ends[i] > begins[i] else names[i] + b"\0"

    def groups(number_of: Callable[[bytes], int]) -> NDArray[np.int64]:
        return np.fromiter(map(number_of, map(key, range(len(names)))), np.int64, len(names))

    _, first, group = np.unique(groups(hash), return_index=True, return_inverse=True)
    if any(key(i) != key(f) for i, f in enumerate(first[group].tolist()) if i != f):  # two keys have one hash
        known: dict[bytes, int] = {}
        _, first, group = np.unique(
            groups(lambda key: known.setdefault(key, len(known))), return_index=True, return_inverse=True
        )
    begun = first[group]
    order = np.argsort(begun, kind="stable").astype(np.int32)
    counts = np.bincount(group, minlength=len(first))[np.argsort(first)]
    return order, np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)


def samples_of(paths: Sequence[bytes], tar: str) -> Samples:
    """The samples of a tar; see `Samples`."""
    return Samples(FilePaths(paths), tar)


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


def find_annotations(samples: Samples, read: Callable[[list[int]], list[bytes]]) -> None:
    """Find out which samples of images have an annotation; `read` gives the bytes of files by their numbers.

    Of several, as of ``.json`` and ``.JSON``, it's the one that is spelled in lower case, else the first.
    """
    asked = (
        (number, file, tail)
        for number, sample in samples.numbered()
        if sample.images()
        for file, tail in sorted(sample.parts, key=lambda part: part[1] != _JSON)
        if tail.lower() == _JSON
    )
    found: set[int] = set()
    while some := list(islice(asked, _AT_ONCE)):
        for (number, file, _), data in zip(some, read([file for _, file, _ in some]), strict=True):
            if number not in found and _is_annotation(data):
                samples.annotate(number, file)
                found = {number}  # they come one after the other


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


def decide(tars: list[Samples], on_conflict: OnConflict) -> Doubles:
    """Have each key be there once: samples are left out, or get another key.

    With ``error``, two samples that have the same parts stay: whether these are the same is decided part by part. Two
    of different parts would be mixed up by that, and neither stays.
    """
    hashes = [samples.hashes() for samples in tars]
    all_hashes, counts = np.unique(np.concatenate([np.zeros(0, np.int64), *hashes]), return_counts=True)
    several = all_hashes[counts > 1]
    if not len(several):
        return Doubles()
    return _Deciding(tars, on_conflict, hashes, all_hashes).run(
        [np.flatnonzero(np.isin(own, several)) for own in hashes]
    )


class _Deciding:
    """Decides on samples that may have the key of another one: all others have their own."""

    def __init__(
        self,
        tars: list[Samples],
        on_conflict: OnConflict,
        hashes: list[NDArray[np.int64]],
        sorted_hashes: NDArray[np.int64],
    ) -> None:
        self._tars, self._on_conflict = tars, on_conflict
        self._hashes, self._sorted = hashes, sorted_hashes
        self._known: dict[tuple[str, bytes], tuple[int, int]] = {}
        self._clashing: set[tuple[str, bytes]] = set()
        self._found = Doubles()

    def run(self, doubled: list[NDArray[np.int64]]) -> Doubles:
        tars = range(len(self._tars))
        for tar in reversed(tars) if self._on_conflict == "replace" else tars:
            for number in doubled[tar].tolist():
                self._decide(tar, number)
        for tar in tars if self._clashing else ():
            samples = self._tars[tar]
            for number in doubled[tar].tolist():
                if samples[number].key and _name(samples[number]) in self._clashing:
                    samples.leave_out(number)
        return self._found

    def _decide(self, tar: int, number: int) -> None:
        samples, found = self._tars[tar], self._found
        sample = samples[number]
        if not sample.key:
            return
        first = self._known.setdefault(_name(sample), (tar, number))
        if first == (tar, number):
            return
        if self._on_conflict == "rename":
            samples.rename(number, self._free_key(sample, tar, number))
        elif self._on_conflict == "error":
            other = self._tars[first[0]][first[1]]
            if _name(sample) in self._clashing or _shape(other) != _shape(sample):
                found.clashes.append((other, first[0], sample, tar))
                self._clashing.add(_name(sample))
        else:
            samples.leave_out(number)
            found.left_out[tar] = found.left_out.get(tar, 0) + 1

    def _free_key(self, sample: Sample, tar: int, number: int) -> bytes:
        names = ((sample.dataset, b"%b_%d" % (sample.key, count)) for count in itertools.count(1))
        name = next(name for name in names if name not in self._known and not self._is_there(name))
        self._known[name] = tar, number
        return name[1]

    def _is_there(self, name: tuple[str, bytes]) -> bool:
        """Whether any sample has this dataset and key."""
        own = hash(name)
        at = int(np.searchsorted(self._sorted, own))
        if at == len(self._sorted) or int(self._sorted[at]) != own:
            return False
        pairs = zip(self._tars, self._hashes, strict=True)
        return any(_name(samples[i]) == name for samples, of in pairs for i in np.flatnonzero(of == own).tolist())


def _name(sample: Sample) -> tuple[str, bytes]:
    return sample.dataset, sample.key


def _shape(sample: Sample) -> tuple[list[bytes], list[bytes]]:
    annotation = [tail for number, tail in sample.parts if number == sample.annotation]
    return annotation, sorted(tail for _, tail in sample.parts)


def _encode(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")
