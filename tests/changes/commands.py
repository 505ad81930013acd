"""Commands that do one thing to one image, for tests of kinds that hold for all of them."""

from __future__ import annotations

import fsspec
import pytest
from changes.looking import shown
from changes.plain_model import name_of
from changes.samples import parts_of, picture_of, write

import blobdir
from blobdir.errors import BlobdirError
from blobdir.packing import add, move, remove


def transaction(root, change):
    fs = fsspec.filesystem("blobdir", fo=str(root), skip_instance_cache=True)
    with fs.transaction:
        change(fs)


def unchanged(root, change):
    """What is said of a transaction that is refused, and leaves everything as it was."""
    before = shown(root)
    with pytest.raises(BlobdirError) as error:
        transaction(root, change)
    assert shown(root) == before
    return str(error.value)


def label_of(root, image):
    """What the label of an image of ``train`` says."""
    return blobdir.open_project(root, index="none")["train"].annotation(image).get("description")


def _replace(root, image):
    dataset, _, name = parts_of(image)
    file = write(root.with_name("replacing") / name, picture_of(name, "another"))
    add(root, name_of(dataset), [file], replace=True)


def _typed(image):
    """``train/img/a.png``, as it is shown, as one types it: ``train/a.png``."""
    dataset, _, name = parts_of(image)
    typed = f"{name_of(dataset)}/{name}"
    return image if "/img/" in typed else typed  # else it's the path of another one


LEAVING = {
    "remove": lambda root, image: remove(root, [_typed(image)]),
    "rm": lambda root, image: transaction(root, lambda fs: fs.rm(image)),
    "move": lambda root, image: move(root, [_typed(image)], "elsewhere"),
    "mv": lambda root, image: transaction(root, lambda fs: fs.mv(image, moved(image))),
}
"""After these an image isn't at its place any more."""

REPLACING = {
    "add --replace": _replace,
    "pipe": lambda root, image: transaction(root, lambda fs: fs.pipe(image, picture_of(image, "another"))),
}
"""After these another image is."""

TOUCHING = LEAVING | REPLACING


def moved(image):
    """Where ``move`` and ``mv`` put it."""
    return f"elsewhere/img/{parts_of(image)[2]}"


def expected(command, model, image):
    """What a command makes of the model."""
    if command in ("remove", "rm"):
        model.remove([image])
    elif command in ("move", "mv"):
        model.move([image], "elsewhere")
    else:
        model.files[image] = picture_of(image, "another")
    return model.files
