"""Lists of the images of a split, an image in a line: YOLO's ``train.txt``, the ``ImageSets`` of Pascal VOC."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blobdir.labels.claims import Meaning, contradicted
from blobdir.labels.model import LabelError
from blobdir.wording import counted

if TYPE_CHECKING:
    from blobdir.labels.files import LabelFiles
    from blobdir.labels.finding import Found, Images
    from blobdir.labels.model import Labels


class Lists:
    """The splits that lists say of images.

    Attributes
    ----------
    splits : dict
        Image -> its split: that of the first list that names it.
    """

    def __init__(self, files: LabelFiles, images: Images, labels: Labels) -> None:
        self._files, self._images, self._labels = files, images, labels
        self.splits: dict[str, str] = {}
        self._listed: dict[str, str] = {}
        self._again: dict[tuple[str, str], list[str]] = {}

    def read(self, path: str, split: str, near: str, *, whole: bool = False, drop: str = "") -> None:
        """Read a list. Lines that name no image are said.

        Parameters
        ----------
        path : str
        split : str
            That its images are of.
        near : str
            The folder that they are named from.
        whole : bool
            Whether it has the images of other lists, too.
        drop : str
            Beginning of a line that counts for nothing where there is no such folder.
        """
        try:
            lines = [line.strip() for line in self._files.text(path).splitlines()]
        except LabelError as error:
            raise LabelError(f"{path}: {error}") from error
        self._labels.files.append(path)
        lost: list[tuple[str, str]] = []
        meanings: list[Meaning] = []
        for line in filter(None, lines):
            try:
                meanings.append(Meaning(path, line, split, self._find(line, near, split, drop)))
            except LabelError as error:
                lost.append((line, str(error)))
        wrong = contradicted(meanings)
        lost += [(meanings[i].where, text) for i, text in wrong.items()]
        for image in [one.found.path for i, one in enumerate(meanings) if i not in wrong]:
            before = self.splits.setdefault(image, split)
            if before != split and not whole:
                self._again.setdefault((self._listed[image], path), []).append(image)
            self._listed.setdefault(image, path)
        if lost:
            count = counted(len(lost), "line names", "lines name")
            text = f"{count} no image that is there, so none is of {split} by it; {lost[0][0]!r}: {lost[0][1]}"
            self._labels.complain("label", path, text)

    def _find(self, line: str, near: str, split: str, drop: str) -> Found:
        try:
            return self._images.place(line, near, split)
        except LabelError:
            short = line.removeprefix("./")
            if not drop or not short.startswith(drop):
                raise
        return self._images.place(short.removeprefix(drop), near, split)

    def settle(self) -> None:
        """Say which images are in the lists of two splits."""
        for (first, second), images in self._again.items():
            count = counted(len(images), "image is", "images are")
            text = f"{count} in {first} too, and of that one's split now: {images[0]}"
            self._labels.complain("label", second, text)
