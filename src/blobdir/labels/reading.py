"""Label files of a folder, read as a whole: what holds for all formats."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from blobdir.errors import UsageError
from blobdir.labels.anysplits import read_numbered
from blobdir.labels.aside import name_aside, set_aside
from blobdir.labels.bystanders import name_captions
from blobdir.labels.claims import Meaning, contradicted, name_guessed
from blobdir.labels.companions import name_companions
from blobdir.labels.detecting import captions_of_coco, detect, fault_in, fault_of, format_of
from blobdir.labels.formats import FORMATS
from blobdir.labels.formats.yolo import is_labels
from blobdir.labels.formats.yolonames import is_called_like_names
from blobdir.labels.model import Labels, Picture, told
from blobdir.labels.nested import inner_sets
from blobdir.labels.otherlists import name_unused
from blobdir.labels.shared import final_split, put_together, said_of
from blobdir.labels.splitfiles import name_split_files
from blobdir.labels.splitnames import is_called_like_a_split, split_of_folders
from blobdir.labels.unknown import CONVERT, code_of_passed_by, name_unknown
from blobdir.labels.unlabelled import Unlabelled
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Iterator

    from blobdir.labels.files import LabelFiles
    from blobdir.labels.finding import Images

_NAME: Final = re.compile(r"[^/\\\"'<>,;:|\t\r\n]+\.(?:jpe?g|mpo|bmp|png|webp|tiff?|nrrd|jfif)\b", re.IGNORECASE)


def read_labels(kind: str, files: LabelFiles, images: Images) -> Labels:
    """All that the label files of a format say of images.

    Each image is in one picture for each split, and each label that isn't in the result is a problem.

    Parameters
    ----------
    kind : str
        Name of the format.
    files : LabelFiles
    images : Images

    Raises
    ------
    UsageError
        There is no file of this format.
    LabelError
        A file with the labels of many images can't be read.
    """
    images.note_sets(inner_sets(FORMATS[kind], files))
    aside = set_aside(FORMATS[kind], files, images)
    files = files.without(aside) if aside else files
    labels = FORMATS[kind].read(files, images)
    name_aside(aside, files, labels)
    if not labels.files and not labels.problems and not files.unread:
        raise UsageError(_none(kind, files))
    name_captions(captions_of_coco(files) if kind != "coco" else [], labels)
    for path in files.unread:
        labels.complain("label", path, f"can't be read, and may have labels: {files.unread[path]}")
    _name_passed_by(kind, labels, files, images)
    _name_texts(kind, labels, files, images)
    _leave_to_others(labels, files, images)
    _spell_alike(labels)
    put_together(labels)
    name_companions(labels)
    read_numbered(files, images, labels)
    for picture in labels.pictures:
        picture.split = final_split(picture)
    _name_unlisted(labels)
    _name_folders(labels)
    name_unused(files, images, labels, name_split_files(files, images, labels))
    name_unknown(files, images, labels)
    return labels


def _none(kind: str, files: LabelFiles) -> str:
    """What to say where a format is asked for that isn't there."""
    others = [
        f"{FORMATS[name].title} ({path}): --labels {name}" for name, path in detect(files).items() if name != kind
    ]
    text = f"{files.name}: holds no labels of {FORMATS[kind].title} ({FORMATS[kind].wants})"
    if others:
        return f"{text}, but of {' and '.join(others)}"
    tried = next(FORMATS[kind].paths(files), "")
    return f"{text}; {fault_in(files, kind) or f'{tried} is something else'}" if tried else text


def _name_passed_by(kind: str, labels: Labels, files: LabelFiles, images: Images) -> None:
    """Name files that are called like those of a format, and may have labels that weren't read."""
    looked = Unlabelled(images, labels)
    for path, name, fault in list(_passed_by(kind, labels, files, images)):
        text = f"isn't {FORMATS[kind].title} that is known ({FORMATS[kind].wants}), and names {name}"
        code = "label" if fault else code_of_passed_by(path, files, images, looked)
        if code == "label-note":
            labels.note(path, f"{text}. Labelled images have as much, so it's taken for notes; if not, {CONVERT}")
        elif code:
            more = "if it has labels, they weren't read; if it hasn't, give the files that have with --labels-from"
            labels.complain("label", path, fault or f"{text}: {more}")


def _passed_by(kind: str, labels: Labels, files: LabelFiles, images: Images) -> Iterator[tuple[str, str, str]]:
    """Files that are called like those of a format and aren't read; an image that each names, and why, if known."""
    known = {*labels.files, *files.unread, *(path for _, path, _ in labels.problems)}
    for path in FORMATS[kind].paths(files):
        if path in known or path.lower().endswith(".txt"):  # texts are named by who looks for their images
            continue
        head = files.head(path)
        if format_of(path, head):
            continue
        fault = fault_of(kind, path, head)
        text = head.decode("utf-8", "replace")
        name = next((found[0].strip() for found in _NAME.finditer(text) if found[0].strip() in images), "")
        if name or fault:
            yield path, name, fault


def _name_texts(kind: str, labels: Labels, files: LabelFiles, images: Images) -> None:
    """Name YOLO's texts beside labels of another format: nothing knows them as such if none of their images is here."""
    if kind == "yolo" or not any(map(is_called_like_names, files.paths)):
        return
    texts = (path for path in files.ending(".txt") if not images.has_called(path))
    if found := [path for path in texts if is_labels(path, files.head(path))]:
        count = counted(len(found), "text looks like YOLO's labels", "texts look like YOLO's labels")
        text = f"{count}, and its images aren't here: not read, as the others are of {FORMATS[kind].title}"
        labels.complain("label", found[0], text)


def _spell_alike(labels: Labels) -> None:
    """Have one split of those that are called the same but for capitals, where nothing else is noted by its name."""
    known: dict[str, str] = {}
    told: set[str] = set()
    for picture in labels.pictures:
        first = known.setdefault(picture.split.lower(), picture.split)
        is_bound = any(picture.split in noted for noted in (labels.kept, labels.beside, labels.numbered))
        if picture.split == first or picture.is_listed is not None or is_bound:
            continue
        if picture.split not in told:
            labels.note(picture.where, f"says {picture.split}, which is {first} in other letters: they are one split")
        told.add(picture.split)
        picture.split = first


def _leave_to_others(labels: Labels, files: LabelFiles, images: Images) -> None:
    """Leave out pictures whose image is that of another name, more surely."""
    placed = [picture for picture in labels.pictures if picture.found is not None]
    meanings = [Meaning(one.file, one.where, one.split, one.found) for one in placed if one.found is not None]

    def says(i: int) -> Collection[Hashable]:
        return said_of(placed[i])

    wrong = {id(placed[i]): text for i, text in contradicted(meanings, files, images, says).items()}
    for picture in placed:
        if id(picture) in wrong:
            labels.complain("label-image", picture.where, wrong[id(picture)])
    labels.pictures = [picture for picture in labels.pictures if id(picture) not in wrong]
    kept = [meaning for picture, meaning in zip(placed, meanings, strict=True) if id(picture) not in wrong]
    name_guessed(kept, images, labels)


def _name_unlisted(labels: Labels) -> None:
    """Say which images are of a split by their folders only, though lists or a config name the images of splits."""
    found: dict[str, list[str]] = {}
    for picture in labels.pictures:
        if picture.is_listed is False and picture.split:
            found.setdefault(picture.split, []).append(picture.path)
    for split, paths in found.items():
        count = counted(len(paths), "image that no list or config names", "images that no list or config names")
        where = "its folder" if len(paths) == 1 else "their folders"
        labels.note(split, f"has {count}, as {paths[0]}: of it by {where}")


def _name_folders(labels: Labels) -> None:
    """Say which images aren't of the split that their folders say, as labels give another name that is none."""
    found: dict[str, list[Picture]] = {}
    for picture in labels.pictures:
        if not is_called_like_a_split(picture.split) and split_of_folders(picture.path):
            found.setdefault(picture.split, []).append(picture)
    for split, pictures in found.items():
        names = " and ".join(sorted({split_of_folders(picture.path) for picture in pictures})[:3])
        count = counted(len(pictures), "image", "images")
        text = f"says {split} of {count} in folders called {names}, as {pictures[0].path}; they are of {split} now"
        labels.note(pictures[0].file, text)


def mixed_tags(pictures: Iterable[Picture]) -> set[str]:
    """Tags that are sometimes a number and sometimes a text, or just there: they are texts, as a tag has one kind."""
    kinds: dict[str, type] = {}
    found: set[str] = set()
    for picture in pictures:
        for said in (dict(picture.tags), *picture.attributes()):
            for name, value in said.items():
                kind = type(told(value))
                kind = float if kind is int else kind
                if kinds.setdefault(name, kind) is not kind:
                    found.add(name)
    return found
