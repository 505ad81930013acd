"""Files of formats that nobody reads, beside label files that are read: named, if images without labels may be theirs.

In formats with a file for each image, and in tables, an image that no label file names has nothing in it. If its labels
are in another format, as DOTA's, KITTI's or VIA's, they would be lost without a word. Nobody knows what such a file
means; but it's named if numbers are in it, enough for a box, and

- it's called like an image that got no labels, as most files of its ending in its folder are that are called like any,
  or as any in a folder of labels. Of images of one name, some with labels and some without, it's that whose folders fit
  its own best: what it's called alone says nothing where all splits begin with ``0``;
- others like it say in pixels what the labels of their images were made of, so it has labels, too;
- it names images that got no labels, with numbers beside them; where most of its images got some, words tell. Which of
  several a name means is told in the same way: by the folders before it, else by where the file lies and what it's
  called (``val.json``), see `Unlabelled.meant_in`;
- it's called for labels or a split, or lies in a folder of labels, and no image that it may speak for got any.

Files that are called like labelled images as well are something else: captions, depth, what a camera noted. Those in
the folder of another split count, too, unless the folder is named for labels; so do those of another camera, where
images of one name are told apart by its folder. A folder that was given as that of the labels is named for them, see
`LabelFiles.note_given`. So are files called for what programs say
of images, as submissions, results, features; settings; where a camera was.

A file that names most labelled images, too, is mostly one of notes on all (a place, a camera, a day), but it may have
labels of which some were converted. Words as ``bbox`` in its keys or columns tell, and that some images are named more
often than others, or have more numbers: of objects there are some more, of notes each image has as many. If nothing
tells, it's said, and costs nothing.

Of a packed file not all may be seen, see `blobdir.labels.packed`. Where nothing is found then, nobody knows that
nothing is there: it's said, and costs nothing unless the file, or what wasn't seen in it, is called for labels.
"""

from __future__ import annotations

import re
from itertools import islice
from posixpath import basename, dirname, splitext
from typing import TYPE_CHECKING, Final, NamedTuple

from blobdir.labels.bystanders import is_called_for_a_camera, is_called_for_predictions
from blobdir.labels.contents import BINARY, Seen, holds_boxes, is_binary, look, text_of, without_packing
from blobdir.labels.detecting import format_of
from blobdir.labels.files import packed_in
from blobdir.labels.finding import is_image
from blobdir.labels.foreign import format_named
from blobdir.labels.formats.yolonames import NO_LABELS
from blobdir.labels.mentions import OF_A_BOX, Mentions, is_image_named, profile_of, without_names
from blobdir.labels.namesakes import folders_of
from blobdir.labels.nearby import is_named_for_labels
from blobdir.labels.notes import (
    are_labels,
    have_boxes,
    numbers_differ,
    speaks_of_labels,
    speaks_of_shapes,
    tells_of_classes,
)
from blobdir.labels.numerals import numbers_in
from blobdir.labels.rivals import Rival, is_original
from blobdir.labels.splitnames import is_called_like_a_split, without_splits
from blobdir.labels.unlabelled import Unlabelled
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from blobdir.labels.files import LabelFiles
    from blobdir.labels.finding import Images
    from blobdir.labels.model import Labels

_OF_SHAPES: Final = (".geojson", ".odgt", ".bbox", ".gt", ".pts")
"""Endings of files with shapes, whatever folder they lie in."""
_LOOKED_AT: Final = 100
"""Files of one ending in a folder that are looked into."""
_COMPARED: Final = 10
"""So many files are compared with the labels of their images."""
_SUBMISSION: Final = re.compile(r"submission", re.IGNORECASE)
"""What a file is called that is handed in: there is one that shows how, with boxes that mean nothing."""
_DERIVED: Final = re.compile(
    r"(?<![a-z])(?:features?|embeddings?|descriptors?|logits|depths?|disparit(?:y|ies))(?![a-z])", re.IGNORECASE
)
"""What files with numbers of a program are called, or of a sensor: nothing can be seen of them."""
_OF_A_CAMERA: Final = (7, 12, 16)
"""So many numbers say where a camera was."""
_OF_CAMERAS: Final = re.compile(
    r"\bQW, *QX, *QY, *QZ\b|\"(?:transform_matrix|camera_angle_x)\"|\bsensor_id=\""
    r"|\"shots\": *\{[^{}]*\{\s*\"rotation\""
)
"""What stands in files of COLMAP, NeRF, OpenSfM, Metashape that say where a camera was, and which points it saw."""
_KIND: Final = re.compile(r"(?:json|xml|txt|csv|tsv|meta)s?", re.IGNORECASE)
"""What folders are called for the kind of files in them: these can be labels, or notes."""
CONVERT: Final = "convert them to a format that is, as COCO, and give that with --labels-from"
_PAGES: Final = (
    *(".log", ".md", ".rst", ".html", ".htm", ".svg", ".tex", ".py", ".pyi", ".ipynb", ".js", ".ts", ".sh", ".bat"),
    *(".m", ".c", ".h", ".cpp", ".hpp", ".cu", ".java", ".go", ".rs", ".lua", ".r", ".css", ".err", ".out"),
)
"""Endings of what people read, of programs and of what these say: they may show images with boxes and be no labels."""
_PROGRAMS: Final = (
    *(".pt", ".pth", ".ckpt", ".keras", ".mar", ".safetensors", ".whl", ".egg", ".jar", ".apk", ".docx", ".pptx"),
    *(".odt", ".odp", ".kra", ".blend", ".nii.gz", ".svgz", ".log.gz"),
)
"""Endings of packed files in which nobody has labels."""


class _Odd(NamedTuple):
    """A file that may have labels.

    Attributes
    ----------
    path : str
    text : str
        What to say of it.
    are_notes : bool
        It's said, and costs nothing.
    packed : str
        What it's packed in.
    is_unseen : bool
        Nothing was found in it, and not all was looked at.
    """

    path: str
    text: str
    are_notes: bool
    packed: str = ""
    is_unseen: bool = False


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
    known = {*read, *files.unread, *labels.files, *labels.passed} - labels.boxed
    known.update(path for _, path, _ in labels.problems)
    looked = Unlabelled(images, labels)
    if not looked.paths:
        return
    called: dict[tuple[str, str], list[str]] = {}
    others: dict[tuple[str, str], list[str]] = {}
    for path in files.paths:
        if path not in known and not is_image(path) and not _is_something_else(path):
            is_one = bool(looked.called_like(path))
            folder = _kind_of(files.told(path), looked.told_apart(path)) if is_one else dirname(path)
            some = called if is_one else others
            some.setdefault((folder, splitext(path)[1].lower()), []).append(path)
    found: dict[tuple[str, str, bool], tuple[_Odd, int]] = {}
    for (folder, ending), paths in called.items():
        if one := _of_each(paths, files, looked, folder):
            path, count, are_notes = one
            text = f"called like images without labels, as {looked.called_like(path)[0]}"
            key = ending, "", are_notes
            first, before = found.get(key, (_Odd(path, text, are_notes, _packing_of(path, files)), 0))
            found[key] = first, before + count
    for paths in others.values():
        for odd in _of_many(paths[:_LOOKED_AT], files, looked):
            key = basename(odd.path), odd.text.partition(" ")[0], odd.are_notes
            first, before = found.get(key, (odd, 0))
            found[key] = first, before + 1
    for odd, count in found.values():
        _name(odd, count, files, labels)


def _name(odd: _Odd, count: int, files: LabelFiles, labels: Labels) -> None:
    """Name a file, and how many there are like it."""
    are = "" if count == 1 else f"and {counted(count - 1, 'more file')} like it "
    verb = "is" if count == 1 else "are"
    program = format_named(odd.path, files.head(odd.path))
    kind = f"of no format that is read ({program})" if program else "of no format that is known"
    if odd.packed:
        kind = (
            f"packed ({odd.packed}), so it isn't read" if count == 1 else f"packed ({odd.packed}), so they aren't read"
        )
    shown = f"{are}{verb} {odd.text}, and {kind}"
    next_step = f"unpack it, or {CONVERT}" if odd.packed else CONVERT
    if odd.is_unseen and odd.are_notes:
        labels.note(odd.path, f"{shown}. Nobody knows whether it has labels; if it has, {next_step}")
        return
    if odd.are_notes:
        labels.note(odd.path, f"{shown}. Labelled images have as much, so it's taken for notes; if not, {next_step}")
        return
    text = f"if they have labels, they weren't read: {next_step}; if they haven't, move them out of the folder"
    labels.complain("label", odd.path, f"{shown}: {text}")


def code_of_passed_by(path: str, files: LabelFiles, images: Images, looked: Unlabelled) -> str:
    """How to say that a file names images and isn't read, though it's called like those that are; empty: not at all.

    Notes on images that have labels are such files, too, or lists of where they are from.
    """
    text, cuts = files.sample(path)
    mentions = Mentions(text, images.called_so)
    if not looked.has_most(mentions.images, is_part=cuts > 0):
        are_others = looked.labelled.isdisjoint(mentions.images) and looked.labelled
        return "label-note" if are_others and tells_of_classes(mentions, text, path) else "label"
    if _is_of_something_else(path, mentions, text):
        return ""
    if speaks_of_labels(text, mentions.keys, path):
        return "label"
    if numbers_in(mentions.left) < OF_A_BOX * len(mentions.named):
        return ""
    return "label-note" if _are_notes(path, mentions, text, files, looked, cuts) else "label"


def _is_something_else(path: str) -> bool:
    """Whether a file is called for something that is no label."""
    name = basename(path)
    is_derived = path.lower().endswith(BINARY) and any(map(_DERIVED.search, path.split("/")))
    return NO_LABELS.match(name) is not None or _SUBMISSION.search(name) is not None or is_derived


def _is_for_labels(folder: str) -> bool:
    """Whether a folder is named for labels, and not just for the kind of its files."""
    return any(is_named_for_labels(part) and not _KIND.fullmatch(part) for part in folder.split("/"))


def _is_for_files(folder: str) -> bool:
    return any(map(is_named_for_labels, folder.split("/")))


def _kind_of(path: str, image: str) -> str:
    """The folder of a file, as that of its kind in another split; but of labels, which a split may have alone.

    Where namesakes of its image are told apart by their folders, those of images don't count: ``cam1/depth`` and
    ``cam2/depth`` have one kind of files.
    """
    folder = dirname(path)
    if _is_for_labels(folder):
        return folder
    return "/".join(part for part in without_splits(folder) if part not in folders_of(image))


def _packing_of(path: str, files: LabelFiles) -> str:
    return "" if path.lower().endswith(BINARY) else packed_in(files.head(path))


def _of_each(paths: list[str], files: LabelFiles, looked: Unlabelled, folder: str) -> tuple[str, int, bool] | None:
    """The first of files in a folder that are called like images, how many may have labels, and whether they are notes.

    If the folder isn't named for labels, and most labelled images have such a file, it's none of labels. If it's only
    named for the kind of its files, what stands in them tells.
    """
    labelled = {image: path for path in paths for image in looked.labelled.intersection(looked.called_like(path))}
    odd = [path for path in paths if looked.is_like_one(path)]
    if not odd:
        return None
    are_of_all = not _is_for_labels(folder) and _are_of_all(labelled, odd, looked)
    are_some_of_all = are_of_all and not (_is_for_files(folder) or paths[0].lower().endswith(_OF_SHAPES))
    if are_some_of_all or (2 * len(odd) <= len(paths) and not _is_for_labels(folder)):
        if not _are_originals(labelled, files, looked):
            return None
        are_of_all = False
    notes = ""
    texts: list[str] = []
    profiles: list[dict[str, int]] = []
    for path in islice(odd, _LOOKED_AT):
        head = files.head(path)
        if format_of(path, head):
            return None
        if holds_boxes(path, head):
            if not are_of_all or _speaks_of_labels(path, head):
                return path, len(odd), False
            notes = notes or path
            texts.append(text_of(path, head) or "")
            profiles.append(profile_of(texts[-1]))
    are_notes = not numbers_differ(profiles) and not have_boxes(texts)
    return (notes, len(odd), are_notes) if notes else None


def _are_of_all(labelled: Collection[str], odd: list[str], looked: Unlabelled) -> bool:
    """Whether labelled images have such a file, too: most of all, or of those of the same names as others have."""
    apart = sum(bool(looked.told_apart(path)) for path in odd)
    return bool(labelled) and (looked.has_most(labelled) or (apart > 0 and 2 * len(labelled) >= apart))


def _are_originals(labelled: dict[str, str], files: LabelFiles, looked: Unlabelled) -> bool:
    """Whether one of such files says in pixels what the labels of its image were made of: so others do of theirs."""
    some = (Rival(path, image, looked.owners[image]) for image, path in labelled.items() if image in looked.owners)
    return any(is_original(one, files) for one in islice(some, _COMPARED))


def _speaks_of_labels(path: str, head: bytes) -> bool:
    """Whether the keys in a file of one image are those of labels, or it has none."""
    text = text_of(path, head)
    if text is None:
        return True
    keys = Mentions(text, lambda _: []).keys
    return not keys or speaks_of_labels(text, keys)


def _of_many(paths: list[str], files: LabelFiles, looked: Unlabelled) -> Iterator[_Odd]:
    """Files that name images without labels, or may speak for such."""
    for path in paths:
        seen, told = look(files, path), files.told(path)
        if seen.is_nothing or format_of(path, files.head(path)):
            continue
        if not (seen.is_opaque or seen.inside or seen.limit) and numbers_in(seen.text) < OF_A_BOX:
            continue
        is_listed = seen.inside is not None and not seen.is_opaque
        odd = _of_inner(told, seen, files, looked) if is_listed else _of_text(told, seen, files, looked)
        odd = odd or _unseen(told, seen.limit, {}, looked)
        if odd is not None:
            is_page = path.lower().endswith(_PAGES)
            yield odd._replace(path=path, packed=seen.packed, are_notes=odd.are_notes or is_page)


def _of_text(path: str, seen: Seen, files: LabelFiles, looked: Unlabelled) -> _Odd | None:
    """What to say of a file, by what stands in it or what it's called."""
    mentions = Mentions(seen.text, looked.meant_in(path))
    if not (found := mentions.images):
        return _called_for(path, seen, looked)
    if not seen.is_opaque and (not mentions.has_boxes or _is_of_something_else(path, mentions, seen.text)):
        return None
    are_most = looked.are_most(found)
    without = [image for image in found if image in looked.paths]
    if not are_most:
        without = looked.named_in(mentions, are_told=not seen.is_opaque)
    if not without:
        return _of_unclear(path, seen, mentions, looked)
    text = f"naming images without labels, as {without[0]}"
    if looked.labelled.isdisjoint(found) and tells_of_classes(mentions, seen.text, path):
        return _Odd(path, text, are_notes=True)
    if are_most:
        return _Odd(path, text, _are_notes(path, mentions, seen.text, files, looked, seen.cuts))
    if is_called_for_predictions(path):
        return _Odd(path, text, are_notes=True)
    if seen.is_opaque or is_called_for_labels(path):
        return _Odd(path, text, not is_called_for_labels(path))
    return _Odd(path, text, not are_labels(mentions, seen.text, path, seen.cuts))


def _of_unclear(path: str, seen: Seen, mentions: Mentions, looked: Unlabelled) -> _Odd | None:
    """What to say of a file whose names are those of images with labels, and of others without: it's of either."""
    if seen.is_opaque or not (unclear := looked.unclear_in(mentions)):
        return None
    if tells_of_classes(mentions, seen.text, path):
        return None
    more = f"{counted(len(unclear) - 1, 'more image')}, " if len(unclear) > 1 else ""
    text = (
        f"naming images of which some have labels and others, called the same, have none, as {unclear[0]}, {more}"
        "and doesn't say which it means (folders before the names would, or its own name or place)"
    )
    are_notes = is_called_for_predictions(path) or not (
        is_called_for_labels(path) or are_labels(mentions, seen.text, path, seen.cuts)
    )
    return _Odd(path, text, are_notes)


def _called_for(path: str, seen: Seen, looked: Unlabelled) -> _Odd | None:
    """What to say of a file that names no image, by what it's called."""
    image, are_none = looked.spoken_for(path)
    if not image or (is_called_for_predictions(path) and not are_none):
        return None
    text = f"called for images without labels, as {image}"
    if are_none:
        return _Odd(path, text, are_notes=False)
    if not seen.is_opaque:
        is_so = is_called_for_labels(path) and not is_called_like_a_split(splitext(basename(path))[0])
        return _Odd(path, text, are_notes=True) if is_so else None
    return _Odd(path, text, not is_called_for_labels(path))


def _of_inner(path: str, seen: Seen, files: LabelFiles, looked: Unlabelled) -> _Odd | None:
    """What to say of a file by what is packed in it; if nothing is found, and not all was looked at, that."""
    if seen.inside is None:
        return None
    inner = [name for name in seen.inside.names if not _is_something_else(name)]
    unseen: dict[str, str] = {}
    for name, one in seen.inside.read([name for name in inner if looked.is_like_one(f"{path}/{name}")]):
        if one.limit:
            unseen[name] = one.limit
        elif numbers_in(one.text) >= OF_A_BOX or (not one.text and is_binary(name)):
            text = f"with {name} in it, called like an image without labels, {looked.is_like_one(f'{path}/{name}')}"
            return _Odd(path, text, is_called_for_predictions(path))
    for name, one in seen.inside.read([name for name in inner if not looked.called_like(name)]):
        if numbers_in(one.text) >= OF_A_BOX:
            odd = _of_text(f"{path}/{name}", Seen(one.text, one.cuts), files, looked)
            if odd is not None:
                return _Odd(path, f"with {name} in it, {odd.text}", odd.are_notes)
        if one.limit:
            unseen[name] = one.limit
        elif not one.text and is_binary(name) and is_called_for_labels(name):
            unseen[name] = f"{name} in it can't be read"
    return _unseen(path, seen.inside.limit, unseen, looked)


def _unseen(path: str, limit: str, unseen: dict[str, str], looked: Unlabelled) -> _Odd | None:
    """What to say of a file of which not all was looked at, where nothing was found; programs have no labels.

    Parameters
    ----------
    path : str
    limit : str
        What of all that is in it wasn't.
    unseen : dict
        Name of each file in it that wasn't -> why.
    looked : Unlabelled
    """
    if not (limit or unseen) or path.lower().endswith(_PROGRAMS):
        return None
    called = next(filter(is_called_for_labels, unseen), "")
    why = unseen[called] if called else limit or next(iter(unseen.values()))
    are_labels_called = bool(called) or is_called_for_labels(without_packing(path))
    text = f"beside images without labels, as {min(looked.paths)}, and seen in part ({why})"
    return _Odd(path, text, is_called_for_predictions(path) or not are_labels_called, is_unseen=True)


def is_called_for_labels(path: str) -> bool:
    """Whether a file, or a folder around it, is named for labels, and not just for the kind of its files."""
    return any(is_named_for_labels(part) and not _KIND.fullmatch(part) for part in splitext(path)[0].split("/"))


def _is_of_something_else(path: str, mentions: Mentions, text: str) -> bool:
    """Whether a file that names images has captions, or places of a camera."""
    if _has_places_of_a_camera(path, text):
        return True
    return mentions.is_prose and not speaks_of_shapes(text, mentions.keys, path)


def _are_notes(path: str, mentions: Mentions, text: str, files: LabelFiles, looked: Unlabelled, cuts: int) -> bool:
    """Whether a file that names images without labels names all, and nothing tells that it's one of labels.

    Or a file like it does so of their namesakes that have some: ``train/gps.csv``, beside ``val/gps.csv``.
    """
    if is_called_for_labels(path):
        return False
    if not looked.has_most(mentions.images, is_part=cuts > 0) and not _has_sister(path, mentions, files, looked):
        return False
    return not are_labels(mentions, text, path, cuts)


def _has_sister(path: str, mentions: Mentions, files: LabelFiles, looked: Unlabelled) -> bool:
    """Whether a file of the same kind names the namesakes, with labels, of images that are named here."""
    stem, ending = splitext(path)
    for image in islice(mentions.images, _COMPARED):
        namesakes = looked.namesakes_with_labels(image)
        if not namesakes:
            continue
        kind, deep = _kind_of(f"{stem}/", image), path.count("/")
        for other in files.ending(ending.lower()):
            told = files.told(other)
            if told != path and told.count("/") == deep:
                kinds = {_kind_of(f"{splitext(told)[0]}/", one) for one in namesakes}
                named = Mentions(files.sample(other)[0], looked.meant_in(told)).images if kind in kinds else []
                if named and not looked.are_most(named):
                    return True
        return False
    return False


def _has_places_of_a_camera(path: str, text: str) -> bool:
    """Whether a text says of each image where a camera was: by what stands in it, or as it's called so."""
    if _OF_CAMERAS.search(text):
        return True
    if not is_called_for_a_camera(path):
        return False
    lines = [line for line in text.splitlines() if is_image_named(line)]
    counts = {numbers_in(without_names(line)) for line in lines[: _LOOKED_AT if len(lines) < 2 else -1]}
    return bool(counts) and counts <= {*_OF_A_CAMERA}
