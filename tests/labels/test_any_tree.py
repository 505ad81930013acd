"""Which image a label file means, in random trees of images with namesakes: against a plain model that knows the truth.

Each image has a class of its own. Some images are missing, as in a copy that isn't whole. Whatever the rule finds, no
image has another one's labels, and labels that no image has are named.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from posixpath import basename, join, relpath, splitext
from unicodedata import normalize

import pytest

from blobdir.labels.files import LabelFiles
from blobdir.labels.finding import Images
from blobdir.labels.reading import read_labels

TREES, AT_ONCE = 40, 25
STEMS = (
    *("1", "2", "01", "000001", "a", "A", "a.jpg", "b.png", "a.1", "train", "labels", "img"),
    *(normalize("NFC", "ä"), normalize("NFD", "ä")),
)
KINDS = (".jpg", ".jpg", ".jpg", ".png", ".JPG")
SPLITS = ([""], ["train", "val"], ["Train", "Test"], ["train2017", "val2017"], ["training", "validation"])
SUBS = (
    *([""], ["cam1", "cam2"], ["train", "bus"], ["train", "val"], ["gt", "boxes"], ["1", "2"], ["x", "x/y"]),
    ["x", "y", ""],
)


@dataclass
class Image:
    """A picture, and where its labels are."""

    number: int
    path: str
    split: str
    base: str
    file: str = ""
    is_here: bool = True

    @property
    def inside(self):
        return relpath(f"/{self.path}", f"/{self.base}")


class Tree:
    """A data set as somebody may have it: the images that its labels are of, some of which are missing."""

    def __init__(self, seed, root):
        self.random = random.Random(seed)
        self.root = root
        self.kind = self.random.choice(("csv", "yolo", "voc", "labelme"))
        self.splits, self.subs = self.random.choice(SPLITS), self.random.choice(SUBS)
        if self.kind == "csv" and self.random.random() < 0.2:
            self.subs = ["images", "labels"]
        self.layout = self.random.choice(("images/{}", "{}/images", "{}"))
        self.is_whole = self.random.random() < 0.3
        self.images = list(self._drawn())
        self.is_sure = False
        getattr(self, f"_{self.kind}")()

    def _drawn(self):
        known = set()
        for split in self.splits:
            for sub in self.subs:
                for stem in self.random.sample(STEMS, self.random.randint(1, 4)):
                    base = self.layout.format(split).strip("/").replace("//", "/")
                    path = join(base, sub, stem + self.random.choice(KINDS))
                    if splitext(path)[0] not in known:
                        known.add(splitext(path)[0])
                        is_here = self.is_whole or self.random.random() < 0.75
                        yield Image(len(known), path, split, base, is_here=is_here)

    def _put(self, path, text):
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def _csv(self):
        """One table, or one for each split, that name images in one way each."""
        names = [basename(image.path) for image in self.images]
        places = ("annotations/{}_labels.csv", "{}_labels.csv", "{0}/{0}.csv")
        self.is_sure = True
        by_split = self.random.random() < 0.7 or self.splits == [""]
        place = self.random.choice(places)
        for split in self.splits if by_split else [""]:
            file = place.format(split or "all")
            mine = [image for image in self.images if not by_split or image.split == split]
            ways = {
                "root": lambda image: image.path,
                "machine": lambda image: f"/home/me/{image.path}",
                "file": lambda image, file=file: relpath(f"/{image.path}", f"/{join(file, '..')}"),
            }
            if by_split:
                ways["base"] = lambda image: image.inside
            if len(set(names)) == len(names):
                ways["name"] = lambda image: basename(image.path)
            way = self.random.choice(list(ways))
            self.is_sure = self.is_sure and way == "root" and not file.startswith("all/")
            rows = [f"{ways[way](image)},{image.number},1,1,9,9" for image in mine]
            self.random.shuffle(rows)
            self._put(file, "\n".join(("filename,class,xmin,ymin,xmax,ymax", *rows)))
            for image in mine:
                image.file = file

    def _of_one(self, ending, text):
        """A file for each image: beside it, or where it belongs by custom; called like it, or like all of its name."""
        new = self.random.choice(("", "labels" if ending == ".txt" else "Annotations", "gt"))
        is_by_name = self.random.random() < 0.2
        for image in self.images:
            path = image.path.replace("images", new, 1) if new and "images" in image.base else image.path
            image.file = (path if is_by_name else splitext(path)[0]) + ending
            self._put(image.file, text(image))
        self.is_sure = new in ("", "labels") or "images" not in self.images[0].base

    def _yolo(self):
        self._of_one(".txt", lambda image: f"{image.number} .5 .5 .2 .2\n")
        for split in self.splits if self.random.random() < 0.5 else ():
            lines = [image.path for image in self.images if image.split == split]
            self._put(f"{split or 'train'}_list.txt", "\n".join(lines))

    def _voc(self):
        is_named = self.random.random() < 0.5
        box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"

        def text(image):
            name = f"<filename>{basename(image.path)}</filename>" if is_named else ""
            return f"<annotation>{name}<object><name>{image.number}</name>{box}</object></annotation>"

        self._of_one(".xml", text)

    def _labelme(self):
        ways = (
            lambda image: None,
            lambda image: basename(image.path),
            lambda image: relpath(f"/{image.path}", f"/{join(image.file, '..')}"),
            lambda image: "C:\\data\\" + image.path.replace("/", "\\"),
        )
        way = self.random.choice(ways)

        def text(image):
            shape = {"label": str(image.number), "points": [[1, 1], [9, 9]], "shape_type": "rectangle"}
            return json.dumps({"shapes": [shape], "imagePath": way(image)})

        self._of_one(".json", text)

    def read(self):
        files = LabelFiles.below(str(self.root))
        files.images = sorted(image.path for image in self.images if image.is_here)
        return read_labels(self.kind, files, Images(files.images))


def wrong(tree):
    """What isn't as it must be."""
    labels = tree.read()
    said = " ".join(f"{path} {text}" for code, path, text in labels.problems if code != "label-note")
    found = {}
    for picture in labels.pictures:
        things = picture.read(40, 30, lambda *_: None)
        found.setdefault(picture.path, []).extend(thing.label for thing in things)
    for image in tree.images:
        mine = found.get(image.path, [])
        if any(label != str(image.number) for label in mine):
            yield f"{image.path} ({image.number}) has labels of {mine}"
        if not mine and image.file not in said:
            yield f"labels of {image.path} in {image.file} are lost without a word"
        if not mine and tree.is_whole and tree.is_sure:
            yield f"{image.path} has no labels, and nothing is missing"


@pytest.mark.parametrize("part", range(TREES))
def test_no_image_has_labels_of_another(part, tmp_path):
    for seed in range(part * AT_ONCE, (part + 1) * AT_ONCE):
        tree = Tree(seed, tmp_path / str(seed))
        if any(image.is_here for image in tree.images):
            assert list(wrong(tree)) == [], seed
