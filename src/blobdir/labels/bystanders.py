"""What lies beside labels, looks like some, and is none: captions, what a program found, where a camera was.

Captions are texts called like images, and words: prose isn't read as YOLO's lines, nor compared with them, and costs
nothing. It's looked for outside of folders that are named for labels, in folders where one of the first texts is so,
and only where others aren't. Predictions in a folder called so are no labels of images that have some: they are one
line; where images have none else, it's a problem, as someone may mean them. COCO's files of captions make no second
format beside labels of another one, which is said.
"""

from __future__ import annotations

import re
from itertools import islice
from posixpath import basename, dirname
from typing import TYPE_CHECKING, Final

from blobdir.labels.namesakes import stem_of
from blobdir.labels.nearby import is_named_for_labels
from blobdir.labels.numerals import has_four, numbers_in
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Collection

    from blobdir.labels.files import LabelFiles
    from blobdir.labels.finding import Images
    from blobdir.labels.model import Labels

_CAMERA: Final = re.compile(r"(?<![a-z])(?:poses?|trajector(?:y|ies)|odometry)(?![a-z])", re.IGNORECASE)
_PREDICTED: Final = re.compile(
    r"(?<![a-z])(?:preds?|predict(?:ed|ions?)?|detections?|inferences?|results?)(?![a-z])",
    re.IGNORECASE,
)
"""What files are called that say what a program found in images."""
_WORD: Final = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]|[^\W\d_]{2,}")
"""A word; where nothing stands between words, a character."""
_LEAST_WORDS: Final = 2
_LOOKED_AT: Final = 20
"""Texts of a folder that are looked at to know whether captions lie there."""
_BOXES: Final = b'"bbox"', b'"segmentation"', b'"keypoints"'


def is_called_for_a_camera(path: str) -> bool:
    """Whether a file is called for places of a camera."""
    return _CAMERA.search(basename(path)) is not None


def is_called_for_predictions(path: str) -> bool:
    """Whether a file, or a folder around it, is called for what a program found."""
    return any(map(_PREDICTED.search, path.split("/")))


def is_prose(text: str) -> bool:
    """Whether a text is words, with a number now and then: nowhere four together, as a box has, nor a key."""
    if has_four(text) or text.lstrip()[:1] in "{[<":
        return False
    words = len(_WORD.findall(text))
    return words >= _LEAST_WORDS and words > numbers_in(text)


def without_prose(texts: list[str], files: LabelFiles, images: Images, labels: Labels) -> list[str]:
    """Texts but for captions of images, of which it's said that they aren't read; all, if there are no others."""
    folders: dict[str, list[str]] = {}
    for path in texts:
        folders.setdefault(dirname(path), []).append(path)
    found: set[str] = set()
    for folder, paths in folders.items():
        if any(map(is_named_for_labels, folder.split("/"))):
            continue
        called = filter(images.has_called, paths)
        if any(_is_prose(path, files) for path in islice(called, _LOOKED_AT)):
            found.update(path for path in paths if images.has_called(path) and _is_prose(path, files))
    if not found or len(found) == len(texts):
        return texts
    first = min(found)
    more = f", and so are {counted(len(found) - 1, 'more text')}" if len(found) > 1 else ""
    labels.note(first, f"is words, as a caption{more}, beside labels of YOLO: not read")
    return [path for path in texts if path not in found]


def _is_prose(path: str, files: LabelFiles) -> bool:
    head = files.head(path)
    return b"\0" not in head and is_prose(head.decode("utf-8", "replace"))


def name_predictions(lost: dict[str, str], labelled: Collection[str], images: Images, labels: Labels) -> None:
    """Name texts of YOLO with what a program found, of images that lie elsewhere: those of a folder in one line.

    Parameters
    ----------
    lost : dict
        Path of each text -> why it's of no image.
    labelled : collection of str
        Images that have labels.
    images : Images
    labels : Labels
        Told of them.
    """
    folders: dict[str, list[str]] = {}
    for path in lost:
        folders.setdefault(dirname(path), []).append(path)
        labels.passed.add(path)
    for folder, paths in folders.items():
        needed = [path for path in paths if any(one not in labelled for one in images.called_so(stem_of(path)))]
        if needed:
            more = f", and there are {counted(len(paths) - 1, 'more text')} like it" if paths[1:] else ""
            text = f"holds labels of an image {stem_of(needed[0])}{more}: {lost[needed[0]]}"
            labels.complain("label-image", needed[0], text)
        else:
            some, first = counted(len(paths), "text"), basename(paths[0])
            text = f"has {some} called for what a program found, of images that have labels, as {first}"
            labels.note(folder, f"{text}: not read")


def is_captions(head: bytes) -> bool:
    """Whether a file of COCO, by how it begins and ends, has captions and nothing else of images."""
    return b'"caption"' in head and not any(one in head for one in _BOXES)


def name_captions(paths: list[str], labels: Labels) -> None:
    """Say which of COCO's files of captions aren't read, since labels are of another format."""
    if paths:
        more = f", and so {'has' if len(paths) == 2 else 'have'} {len(paths) - 1} more" if paths[1:] else ""
        text = f"has captions of COCO{more}, and the labels are of another format: not read"
        labels.note(paths[0], f"{text}; --labels coco reads them, and not the others")
        labels.passed.update(paths)
