"""Options of packing, and its report: nothing is left out without a line in it."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from blobdir.errors import PackError, UsageError
from blobdir.packing.shardindexes import check_kinds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from blobdir.packing.shardindexes import ShardIndex

Annotations = Literal["loose", "packed"]
OnConflict = Literal["error", "skip", "rename", "replace"]
Layout = Literal["files", "webdataset"]
LabelFormat = Literal["", "auto", "coco", "yolo", "voc", "cvat", "labelme", "createml", "csv", "folders"]
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
LEFT = (
    "couldn't be removed: what was replaced or removed is still in it; the next command that changes the project "
    "removes it, as does `blobdir verify --repair`"
)
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


def parse_size(text: str) -> int:
    """Bytes of ``1GiB``, ``500M``, ``4096``; units are powers of 1,024.

    Raises
    ------
    UsageError
    """
    found = _SIZE.fullmatch(text.strip())
    if not found or not (size := int(float(found[1]) * (1 << _UNITS[found[2].upper()]))):
        raise UsageError(f"{text!r} isn't a size; write 1GiB, 500M or a number of bytes")
    return size


@dataclass(frozen=True, slots=True)
class PackOptions:
    """How a project is packed.

    Attributes
    ----------
    shard_bytes : int
        A blob is closed before it grows beyond this; a larger image has one for itself.
    shard_images : int
        The same by number of images; 0 is no limit.
    annotations : {"loose", "packed"}
        As files in ``ann/``, which the SDK needs; or in tars in ``ann.blob/``, which only blobdir reads.
    on_conflict : {"error", "skip", "rename", "replace"}
        Images of one name in one dataset: report and leave out all but the first, or the last (``replace``), or give
        each the names of its folders.
    processes : int
        0 is one per processor.
    strict : bool
        Stop at the first problem.
    dataset : str
        Put all images of a plain folder into this dataset; empty: the top folders are the datasets.
    follow_links : bool
        Follow symbolic links out of the source. Those inside it are always followed, once.
    checksum : bool
        When going on with what was cut off: read all again of what is there.
    labels : {"", "auto", "coco", "yolo", "voc", "cvat", "labelme", "createml", "csv", "folders"}
        The format of labels that lie beside the images and become their annotations; ``auto``: what is found. With
        ``folders``, the folders that an image lies in are its tags, but for ``train``, ``val`` and the like at the top.
    labels_from : str
        A file or folder elsewhere that has the labels.
    layout : {"files", "webdataset"}
        What is in the blobs: images; or images, each followed by a copy of its annotation, so that each blob is a shard
        for WebDataset as well. That takes loose annotations.
    shard_index : sequence of {"wids", "dali"}
        Indexes for those that read shards, beside the blobs, see `blobdir.packing.shardindexes`. That takes
        ``layout="webdataset"``.
    """

    shard_bytes: int = 1 << 30
    shard_images: int = 0
    annotations: Annotations = "loose"
    on_conflict: OnConflict = "rename"
    processes: int = 0
    strict: bool = False
    dataset: str = ""
    follow_links: bool = False
    checksum: bool = False
    labels: LabelFormat = ""
    labels_from: str = ""
    layout: Layout = "files"
    shard_index: tuple[ShardIndex, ...] = ()

    def __post_init__(self) -> None:
        if self.shard_bytes < 1 or self.shard_images < 0 or self.processes < 0:
            raise UsageError("shard sizes and processes can't be negative, and a shard must hold something")
        if self.annotations not in get_args(Annotations):
            raise UsageError(f"annotations={self.annotations!r}: choose one of {', '.join(get_args(Annotations))}")
        if self.on_conflict not in get_args(OnConflict):
            raise UsageError(f"on_conflict={self.on_conflict!r}: choose one of {', '.join(get_args(OnConflict))}")
        if self.labels not in get_args(LabelFormat):
            raise UsageError(f"labels={self.labels!r}: choose one of {', '.join(get_args(LabelFormat)[1:])}")
        if self.labels_from and self.labels in ("", "folders"):
            raise UsageError("labels_from is for labels in files: choose their format, or auto")
        if self.layout not in get_args(Layout):
            raise UsageError(f"layout={self.layout!r}: choose one of {', '.join(get_args(Layout))}")
        if self.layout == "webdataset" and self.annotations == "packed":
            raise UsageError("layout='webdataset' has copies of annotations that are files: leave annotations loose")
        check_kinds(self.shard_index)
        if self.shard_index and self.layout != "webdataset":
            raise UsageError("shard_index is for shards: choose layout='webdataset'")


def texts(what: str, given: Iterable[str | os.PathLike[str]]) -> list[str]:
    """Names or paths that somebody has given, as any iterable of texts and paths.

    Raises
    ------
    UsageError
        It's one text: its letters would be taken for names.
    """
    if isinstance(given, (str, bytes, os.PathLike)):
        raise UsageError(f"{what}={given!r}: must be a list of texts, not one text")
    return [os.fspath(one) for one in given]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that was found in the source.

    Attributes
    ----------
    code : str
        ``unreadable``, ``changed``, ``conflict``, ``link``, ``name`` and ``line`` cost an image or a file,
        ``database`` all that is in one of an LMDB store, ``annotation`` its labels, ``no-size`` the size in its
        annotation. Of label files, ``label`` costs an object,
        ``label-image`` is an image that they name and that isn't there, or an annotation that no image uses,
        ``label-size`` one of another size, ``label-unnamed`` images that they don't name, ``label-lost`` what another
        format has no place for;
        ``label-boxed``, ``label-untold``, ``label-outside``, ``label-degenerate`` and ``label-note`` cost nothing.
        Where a project is looked at, ``image`` is one that can't be used, ``unseen`` why datasets may be missing,
        ``undrawn`` objects that can't be drawn, ``meta`` why classes aren't known; ``color``, one that is none and has
        another in its place, doesn't cost anything. ``empty``, ``not-an-image``,
        ``not-an-image-name``, ``no-annotation``, ``annotation-size``, ``renamed``, ``repeated``, ``hidden``,
        ``in-folder``, ``link-loop``, ``taken-over``, ``no-sample``, ``label-kept`` and ``sdk-name`` don't.
    path : str
        Relative to the source.
    message : str
    """

    code: str
    path: str
    message: str

    @property
    def costs(self) -> bool:
        """Whether something isn't in the result because of it."""
        return self.code in (
            "unreadable",
            "changed",
            "database",
            "conflict",
            "link",
            "name",
            "line",
            "annotation",
            "no-size",
            "label",
            "label-image",
            "label-lost",
            "label-size",
            "label-unnamed",
            "image",
            "unseen",
            "undrawn",
            "meta",
        )

    @property
    def is_count(self) -> bool:
        """Whether it speaks of many objects, so that it comes first where others are cut."""
        return self.code in ("label-boxed", "label-untold")

    @property
    def is_note(self) -> bool:
        """Whether it only says how something is done, and nobody has to mend anything."""
        return self.code in ("renamed", "repeated", "hidden", "in-folder", "link-loop", "label-note")


def no_size(path: str, why: str) -> Problem:
    """That an annotation doesn't say how large its image is, and why not."""
    return Problem("no-size", path, f"its annotation has the size 0 x 0, since the image can't be decoded: {why}")


@dataclass(slots=True)
class PackReport:
    """What was packed; of a dry run, what would be.

    Attributes
    ----------
    found : int
        Images that the source has.
    images, image_bytes, files : int
        Images in blobs, their bytes, and files beside them.
    blobs : dict
        Path of each blob in the project -> its SHA-256; of a dry run, with ``*`` where the name depends on the bytes.
    datasets : dict
        Path of each dataset -> images.
    renamed : dict
        ``train/cat_0.jpg`` -> its path below the source, of images that would have shared a name with others.
    problems : list of Problem
    seconds : float
    resumed : int
        Blobs that were there already.
    labels : str
        Format of the labels that became annotations.
    objects : int
        That they have.
    """

    found: int = 0
    images: int = 0
    image_bytes: int = 0
    files: int = 0
    blobs: dict[str, str] = field(default_factory=dict)
    datasets: dict[str, int] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    seconds: float = 0.0
    resumed: int = 0
    labels: str = ""
    objects: int = 0

    def counts(self) -> dict[str, int]:
        """Problems by code."""
        return dict(Counter(problem.code for problem in self.problems))

    @property
    def complete(self) -> bool:
        """Whether everything of the source is in the result."""
        return not any(problem.costs for problem in self.problems)

    def stop_if(self, strict: bool) -> None:
        """Raise the first problem, if there is one and `strict` says so."""
        first = next((problem for problem in self.problems if not problem.is_note), None) if strict else None
        if first:
            raise PackError(f"{first.path}: {first.message} (--strict)")

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


@dataclass(slots=True)
class ChangeReport:
    """What a change did, or of a dry run, would do.

    Attributes
    ----------
    images : int
        Added, removed, moved, or kept by compacting.
    blobs : list of str
        Written.
    freed : int
        Bytes of blobs that are gone; less than 0 where new ones have more.
    removed : list of str
        Paths that readers don't see any more: images, annotations, other files of images; blobs.
    dropped : int
        Members of blobs that compacting has left out.
    elsewhere : int
        Of those, images that were moved, and so are in another blob.
    held : list of str
        Files that still have the bytes of such members, or may, as they are called after the change: in an image that
        is the same, or in no use, and not touched. Also folders of ``.blobdir`` that couldn't be emptied.
    unsearched : list of str
        Files and folders that weren't searched for those: compressed, not to be listed, outside.
    replaced : list of str
        Paths whose content is another one now. Of compacting, blobs that were written anew, which are among `removed`,
        too, if it was done.
    unchanged : list of str
        Paths of images that were to be replaced, and left as they are: bytes and label are the same.
    folded : int
        Small blobs that became large ones, and are among those that were removed.
    problems : list of Problem
    seconds : float
    """

    images: int = 0
    blobs: list[str] = field(default_factory=list)
    freed: int = 0
    dropped: int = 0
    elsewhere: int = 0
    held: list[str] = field(default_factory=list)
    unsearched: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    folded: int = 0
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether everything that was given is in the project."""
        return not any(problem.costs for problem in self.problems)

    @property
    def told(self) -> list[str]:
        """What was noticed, as lines: for who is interrupted after the change, or meets an error."""
        return [f"{problem.path}: {problem.message}" for problem in self.problems]

    def say_left(self, folders: Iterable[str]) -> None:
        """Name what couldn't be emptied after the change, see `leftovers` of `blobdir.packing.publishing.Change`."""
        for path in folders:
            self.problems.append(Problem("change-leftover", path, LEFT))
            self.held.append(path)
