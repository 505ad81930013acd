"""Files of formats that nobody reads, beside label files that are read: named, if images without labels may be theirs.

In formats with a file for each image, and in tables, an image that no label file names has nothing in it. If its labels
are in another format, as DOTA's, KITTI's or VIA's, they would be lost without a word. Nobody knows what such a file
means; but it's named if numbers are in it, enough for a box, and

- it's called like an image that got no labels, as most files of its ending in its folder are that are called like any;
- it names images, most of which got no labels;
- it's called for labels or a split, or lies in a folder of labels, and no image that it may speak for got any.

Files that are called like labelled images as well are something else: captions, depth, what a camera noted. Those in
the folder of another split count, too, unless the folder is named for labels. So are files called for what programs say
of images, as submissions, results, features; settings; where a camera was.

A file that names most labelled images, too, is mostly one of notes on all (a place, a camera, a day), but it may have
labels of which some were converted. Words as ``bbox`` in its keys or columns tell, and that some images are named more
often than others, or have more numbers: of objects there are some more, of notes each image has as many. If nothing
tells, it's said, and costs nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from itertools import islice
from posixpath import basename, dirname, splitext
from typing import TYPE_CHECKING, Final

from blobdir.labels.companions import is_mask_of_voc
from blobdir.labels.detecting import format_of
from blobdir.labels.formats.yolonames import NO_LABELS
from blobdir.labels.mentions import Mentions, is_image_named, numbers_in, profile_of, without_names
from blobdir.labels.namesakes import is_below, stem_of
from blobdir.labels.nearby import is_named_for_labels
from blobdir.labels.notes import OF_A_BOX, are_labels, have_boxes, numbers_differ, speaks_of_labels, speaks_of_shapes
from blobdir.labels.splitnames import is_called_like_a_split, is_so, split_of_folders, without_splits
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from blobdir.labels.files import LabelFiles
    from blobdir.labels.finding import Images
    from blobdir.labels.model import Labels

_TEXTS: Final = (
    *(".txt", ".json", ".jsonl", ".ndjson", ".odgt", ".geojson", ".xml", ".csv", ".tsv", ".yaml", ".yml", ".toml"),
    *(".pts", ".lst", ".list", ".dat", ".bbox", ".gt"),
)
_BINARY: Final = (
    *(".mat", ".npz", ".npy", ".pkl", ".pickle", ".parquet", ".arrow", ".feather", ".tfrecord", ".record"),
    *(".h5", ".hdf5", ".xlsx", ".xls", ".ods", ".db", ".sqlite"),
)
"""Endings of files in which labels may be, though nothing of them can be seen."""
_OF_SHAPES: Final = (".geojson", ".odgt", ".bbox", ".gt", ".pts")
"""Endings of files with shapes, whatever folder they lie in."""
_LOOKED_AT: Final = 100
"""Files of one ending in a folder that are looked into."""
_SUBMISSION: Final = re.compile(r"submission", re.IGNORECASE)
"""What a file is called that is handed in: there is one that shows how, with boxes that mean nothing."""
_MEASURED: Final = re.compile(r"(?<![a-z])(?:results?|metrics?|scores?)(?![a-z])", re.IGNORECASE)
"""What files are called that say how good a program is; they name no image."""
_DERIVED: Final = re.compile(
    r"(?<![a-z])(?:features?|embeddings?|descriptors?|logits|depths?|disparit(?:y|ies))(?![a-z])", re.IGNORECASE
)
"""What files with numbers of a program are called, or of a sensor: nothing can be seen of them."""
_CAMERA: Final = re.compile(r"(?<![a-z])(?:poses?|trajector(?:y|ies)|odometry)(?![a-z])", re.IGNORECASE)
_OF_A_CAMERA: Final = (7, 12, 16)
"""So many numbers say where a camera was."""
_OF_CAMERAS: Final = re.compile(
    r"\bQW, *QX, *QY, *QZ\b|\"(?:transform_matrix|camera_angle_x)\"|\bsensor_id=\""
    r"|\"shots\": *\{[^{}]*\{\s*\"rotation\""
)
"""What stands in files of COLMAP, NeRF, OpenSfM, Metashape that say where a camera was, and which points it saw."""
_KIND: Final = re.compile(r"(?:json|xml|txt|csv|tsv|meta)s?", re.IGNORECASE)
"""What folders are called for the kind of files in them: these can be labels, or notes."""
_SETTINGS: Final = (".yaml", ".yml", ".toml")
CONVERT: Final = "convert them to a format that is, as COCO, and give that with --labels-from"
_WHAT_NEXT: Final = f"if they have labels, they weren't read: {CONVERT}; if they haven't, move them out of the folder"


def name_unknown(files: LabelFiles, images: Images, labels: Labels) -> None:
    """Name files that may have labels of images that got none.

    Parameters
    ----------
    files : LabelFiles
    images : Images
    labels : Labels
        Told of them.
    """
    read = {picture.file for picture in labels.pictures if picture.is_labelled}
    known = {*read, *files.unread, *(path for _, path, _ in labels.problems)}
    looked = Unlabelled(images, labels)
    if not looked.paths:
        return
    called: dict[tuple[str, str], list[str]] = {}
    others: dict[tuple[str, str], list[str]] = {}
    for path in files.ending(*_TEXTS, *_BINARY):
        if path not in known and not _is_something_else(path):
            some, folder = (called, _without_split(path)) if looked.called_like(path) else (others, dirname(path))
            some.setdefault((folder, splitext(path)[1].lower()), []).append(path)
    found: dict[tuple[str, str, bool], tuple[str, str, int]] = {}
    for (folder, ending), paths in called.items():
        if one := _of_each(paths, files, looked, folder):
            path, count, are_notes = one
            text = f"called like images without labels, as {looked.called_like(path)[0]}"
            key = ending, "", are_notes
            found[key] = _added(found.get(key), path, text, count)
    for paths in others.values():
        for path, text, are_notes in _of_many(paths[:_LOOKED_AT], files, images, looked):
            key = basename(path), text.partition(" ")[0], are_notes
            found[key] = _added(found.get(key), path, text, 1)
    for (*_, are_notes), (path, text, count) in found.items():
        are = "" if count == 1 else f"and {counted(count - 1, 'more file')} like it "
        verb = "is" if count == 1 else "are"
        shown = f"{are}{verb} {text}, and of no format that is known"
        if are_notes:
            labels.note(path, f"{shown}. Labelled images have as much, so it's taken for notes; if not, {CONVERT}")
        else:
            labels.complain("label", path, f"{shown}: {_WHAT_NEXT}")


def code_of_passed_by(path: str, files: LabelFiles, images: Images, looked: Unlabelled) -> str:
    """How to say that a file names images and isn't read, though it's called like those that are; empty: not at all.

    Notes on images that have labels are such files, too, or lists of where they are from.
    """
    text, cuts = files.sample(path)
    mentions = Mentions(text, images.called_so)
    if not looked.has_most(mentions.images, is_part=cuts > 0):
        return "label"
    if _is_of_something_else(path, mentions, text):
        return ""
    if speaks_of_labels(text, mentions.keys, path):
        return "label"
    if numbers_in(mentions.left) < OF_A_BOX * len(mentions.named):
        return ""
    return "label-note" if _are_notes(path, mentions, text, looked, cuts) else "label"


def _is_something_else(path: str) -> bool:
    """Whether a file is called for something that is no label."""
    name = basename(path)
    is_derived = path.lower().endswith(_BINARY) and any(map(_DERIVED.search, path.split("/")))
    return NO_LABELS.match(name) is not None or _SUBMISSION.search(name) is not None or is_derived


def _is_for_labels(folder: str) -> bool:
    """Whether a folder is named for labels, and not just for the kind of its files."""
    return any(is_named_for_labels(part) and not _KIND.fullmatch(part) for part in folder.split("/"))


def _is_for_files(folder: str) -> bool:
    return any(map(is_named_for_labels, folder.split("/")))


def _without_split(path: str) -> str:
    """The folder of a file, as that of its kind in another split; but of labels, which a split may have alone."""
    folder = dirname(path)
    return folder if _is_for_labels(folder) else "/".join(without_splits(folder))


def _added(known: tuple[str, str, int] | None, path: str, text: str, count: int) -> tuple[str, str, int]:
    first, said, before = known or (path, text, 0)
    return first, said, before + count


class Unlabelled:
    """Images that got no labels."""

    def __init__(self, images: Images, labels: Labels) -> None:
        labelled = {picture.path for picture in labels.pictures if picture.is_labelled}
        self._images = images
        self._splits = {picture.path: picture.split for picture in labels.pictures}
        self._sorted = sorted(images.paths)
        self._speaking: dict[tuple[str, str], str] = {}
        self.labelled = labelled
        self.paths = {path for path in images.paths if path not in labelled and not is_mask_of_voc(path)}

    def called_like(self, path: str) -> list[str]:
        """Images that a file is called like."""
        stem = stem_of(path)
        return self._images.called_so(stem) or self._images.called_so(splitext(stem)[0])

    def are_most(self, paths: Collection[str]) -> bool:
        """Whether most images got none."""
        return 2 * sum(path in self.paths for path in paths) > len(paths)

    def has_most(self, paths: Collection[str], *, is_part: bool = False) -> bool:
        """Whether most labelled images are among these; or, of a part of a file, would be among all that it names."""
        count, found = len(self.labelled), len(self.labelled.intersection(paths))
        if not is_part:
            return 2 * found >= count > 0
        return 2 * found * (count + len(self.paths)) >= count * len(paths) > 0

    def spoken_for(self, path: str) -> str:
        """An image that a file may speak for by its name or folder, if none of those got labels; else nothing."""
        stem, ending = splitext(basename(path))
        if ending.lower() in _SETTINGS or _MEASURED.search(stem):
            return ""
        split = stem if is_called_like_a_split(stem) else split_of_folders(path)
        if not (is_called_like_a_split(stem) or any(map(is_named_for_labels, (stem, basename(dirname(path)))))):
            return ""
        key = self._images.near(dirname(path)).scopes[0], split
        if key not in self._speaking:
            self._speaking[key] = self._first_below(*key)
        return self._speaking[key]

    def _first_below(self, scope: str, split: str) -> str:
        """An image in a folder, and of a split, if none of those got labels."""
        found = ""
        start = bisect_left(self._sorted, f"{scope}/") if scope else 0
        for image in islice(self._sorted, start, None):
            if not is_below(image, scope):
                break
            if not split or self._is_of(image, split):
                if image in self.labelled:
                    return ""
                found = found or (image if image in self.paths else "")
        return found

    def _is_of(self, image: str, split: str) -> bool:
        """Whether an image is of a split now, or by its folders."""
        return any(is_so(one, split) for one in (self._splits.get(image, ""), split_of_folders(image)))


def _of_each(paths: list[str], files: LabelFiles, looked: Unlabelled, folder: str) -> tuple[str, int, bool] | None:
    """The first of files in a folder that are called like images, how many may have labels, and whether they are notes.

    If the folder isn't named for labels, and most labelled images have such a file, it's none of labels. If it's only
    named for the kind of its files, what stands in them tells.
    """
    labelled = {image for path in paths for image in looked.labelled.intersection(looked.called_like(path))}
    are_of_all = bool(labelled) and not _is_for_labels(folder) and looked.has_most(labelled)
    if are_of_all and not (_is_for_files(folder) or paths[0].lower().endswith(_OF_SHAPES)):
        return None
    odd = [path for path in paths if not looked.labelled.intersection(looked.called_like(path))]
    odd = [path for path in odd if looked.paths.intersection(looked.called_like(path))]
    if 2 * len(odd) <= len(paths):
        return None
    notes = ""
    texts: list[str] = []
    profiles: list[dict[str, int]] = []
    for path in islice(odd, _LOOKED_AT):
        head = files.head(path)
        if format_of(path, head):
            return None
        if _may_hold_boxes(path, head):
            if not are_of_all or _speaks_of_labels(path, head):
                return path, len(odd), False
            notes = notes or path
            texts.append(head.decode("utf-8", "replace"))
            profiles.append(profile_of(texts[-1]))
    are_notes = not numbers_differ(profiles) and not have_boxes(texts)
    return (notes, len(odd), are_notes) if notes else None


def _speaks_of_labels(path: str, head: bytes) -> bool:
    """Whether the keys in a file of one image are those of labels, or it has none."""
    if path.lower().endswith(_BINARY):
        return True
    text = head.decode("utf-8", "replace")
    keys = Mentions(text, lambda _: []).keys
    return not keys or speaks_of_labels(text, keys)


def _may_hold_boxes(path: str, head: bytes) -> bool:
    if path.lower().endswith(_BINARY):
        return bool(head)
    return b"\0" not in head and numbers_in(head.decode("utf-8", "replace")) >= OF_A_BOX


def _of_many(
    paths: list[str], files: LabelFiles, images: Images, looked: Unlabelled
) -> Iterator[tuple[str, str, bool]]:
    """Files that name images without labels, or may speak for such, what to say of each, and whether they are notes."""
    for path in paths:
        head = files.head(path)
        if not _may_hold_boxes(path, head) or format_of(path, head):
            continue
        is_binary = path.lower().endswith(_BINARY) or b"\0" in head
        text, cuts = (head.decode("utf-8", "replace"), 0) if is_binary else files.sample(path)
        mentions = Mentions(text, images.called_so)
        if found := mentions.images:
            if not looked.are_most(found) or _is_of_something_else(path, mentions, text):
                continue
            if is_binary or numbers_in(mentions.left) >= OF_A_BOX * len(mentions.named):
                first = next(image for image in found if image in looked.paths)
                yield path, f"naming images without labels, as {first}", _are_notes(path, mentions, text, looked, cuts)
        elif image := looked.spoken_for(path):
            yield path, f"called for images without labels, as {image}", False


def _is_of_something_else(path: str, mentions: Mentions, text: str) -> bool:
    """Whether a file that names images has captions, or places of a camera."""
    if _has_places_of_a_camera(path, text):
        return True
    return mentions.is_prose and not speaks_of_shapes(text, mentions.keys, path)


def _are_notes(path: str, mentions: Mentions, text: str, looked: Unlabelled, cuts: int) -> bool:
    """Whether a file that names images without labels names all, and nothing tells that it's one of labels."""
    is_called_so = any(is_named_for_labels(part) and not _KIND.fullmatch(part) for part in splitext(path)[0].split("/"))
    if is_called_so or not looked.has_most(mentions.images, is_part=cuts > 0):
        return False
    return not are_labels(mentions, text, path, cuts)


def _has_places_of_a_camera(path: str, text: str) -> bool:
    """Whether a text says of each image where a camera was: by what stands in it, or as it's called so."""
    if _OF_CAMERAS.search(text):
        return True
    if not _CAMERA.search(basename(path)):
        return False
    lines = [line for line in text.splitlines() if is_image_named(line)]
    counts = {numbers_in(without_names(line)) for line in lines[: _LOOKED_AT if len(lines) < 2 else -1]}
    return bool(counts) and counts <= {*_OF_A_CAMERA}
