"""What a project is to its users: a dictionary of path -> content, and what each change makes of it.

Nothing of blobdir is used here. A change that must be refused raises `Refused`.
"""

from __future__ import annotations

import json

from changes.looking import annotation_of, is_image
from changes.samples import SIDE_FOLDERS, annotation, parts_of


class Refused(Exception):
    """A change that mustn't happen."""


def folder_of(dataset):
    """``a/b``, as users write it, is the folder ``a/datasets/b``."""
    return "/datasets/".join(dataset.split("/"))


def name_of(folder):
    """The other way round."""
    parts = folder.split("/")
    return "/".join(parts[::2])


class Model:
    """All files that a project shows.

    Attributes
    ----------
    files : dict of str to bytes
    """

    def __init__(self, files):
        self.files = dict(files)

    def copy(self):
        return Model(self.files)

    def images(self):
        return sorted(path for path in self.files if is_image(path))

    def datasets(self):
        """Folders of those with images."""
        return sorted({parts_of(path)[0] for path in self.images()})

    def typed(self, image):
        """An image as one would type it to a command, so that it can't be another one; empty where it always could."""
        dataset, _, name = parts_of(image)
        ways = (image, f"{name_of(dataset)}/{name}", f"{name_of(dataset)}/img/{name}", f"{dataset}/{name}")
        others = {way for other in self.images() if other != image for way in _ways(other)}
        return next((way for way in ways if way not in others), "")

    # -- what belongs to an image ----------------------------------------------------------------------------

    def side_files(self, image):
        """Files beside an image that are its own, but for its annotation."""
        dataset, _, name = parts_of(image)
        found = []
        for path in self.files:
            owner, kind, rest = parts_of(path)
            beside = kind in SIDE_FOLDERS or kind.startswith("masks_")
            if owner == dataset and beside and rest in (f"{name}.json", f"{name}.png"):
                found.append(path)
        return found

    def _drop(self, image):
        """The image, what is beside it, and its annotation unless another image has the same."""
        note = annotation_of(self.files, image)
        for path in [image, *self.side_files(image)]:
            del self.files[path]
        if note and not any(annotation_of(self.files, other) == note for other in self.images()):
            del self.files[note]

    # -- commands --------------------------------------------------------------------------------------------

    def add(self, dataset, images, annotations, *, replace):
        """Images {name: bytes}; annotations {name: bytes} or None."""
        folder = folder_of(dataset)
        clash = [name for name in images if f"{folder}/img/{name}" in self.files]
        if clash and not replace:
            raise Refused(clash)
        for name, data in images.items():
            path = f"{folder}/img/{name}"
            is_new = path not in self.files
            self.files[path] = data
            given = (annotations or {}).get(name)
            if given is None and (not is_new or annotation_of(self.files, path)):
                continue
            old = annotation_of(self.files, path)
            if old and not any(annotation_of(self.files, i) == old for i in self.images() if i != path):
                del self.files[old]
            self.files[f"{folder}/ann/{name}.json"] = given if given is not None else annotation()

    def remove(self, images):
        for image in images:
            self._drop(image)

    def move(self, images, dataset):
        target = folder_of(dataset)
        for image in images:
            self.rename(image, f"{target}/img/{parts_of(image)[2]}")

    def rename(self, image, target):
        """An image gets another path, with all that belongs to it."""
        if target in self.files:
            raise Refused(target)
        name, (other, _, new) = parts_of(image)[2], parts_of(target)
        note = annotation_of(self.files, image)
        moved = {target: self.files[image]}
        for path in self.side_files(image):
            _, kind, rest = parts_of(path)
            moved[f"{other}/{kind}/{new}{rest.removeprefix(name)}"] = self.files[path]
        if note:
            moved[f"{other}/ann/{new}.json"] = self.files[note]
        if any(path in self.files for path in moved):
            raise Refused(target)
        self._drop(image)
        self.files |= moved

    def merge(self, other):
        if any(path in self.files for path in other.files if path != "meta.json"):
            raise Refused("one name in both")
        ours, theirs = json.loads(self.files["meta.json"]), json.loads(other.files["meta.json"])
        for key in ("classes", "tags"):
            ours[key] = ours[key] + [item for item in theirs[key] if item not in ours[key]]
        self.files |= other.files
        self.files["meta.json"] = json.dumps(ours).encode()

    def subset(self, images):
        """Only these images, and what belongs to them; what belongs to no image may stay or go."""
        for image in self.images():
            if image not in images:
                self._drop(image)

    # -- in transactions -------------------------------------------------------------------------------------

    def write(self, path, data):
        is_new = path not in self.files
        self.files[path] = data
        if is_new and is_image(path) and not annotation_of(self.files, path):
            dataset, _, name = parts_of(path)
            self.files[f"{dataset}/ann/{name}.json"] = annotation()

    def unlink(self, path):
        if is_image(path):
            self._drop(path)
        else:
            del self.files[path]

    def loose(self):
        """Paths that belong to no image: files of the project, and of the datasets."""
        owned = {"meta.json"}
        for image in self.images():
            owned |= {image, annotation_of(self.files, image), *self.side_files(image)}
        return sorted(self.files.keys() - owned)


def _ways(image):
    """All that could be typed for an image."""
    dataset, _, name = parts_of(image)
    return {image, f"{name_of(dataset)}/{name}", f"{name_of(dataset)}/img/{name}", f"{dataset}/{name}"}
