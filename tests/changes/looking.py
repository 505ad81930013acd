"""How a test looks at a project: everything that a reader sees, or that it's told that something is wrong."""

from __future__ import annotations

import json
import warnings
from posixpath import splitext

import fsspec
from changes.samples import parts_of

import blobdir
from blobdir.errors import BlobdirError, BlobdirWarning
from blobdir.verifying import verify


def shown(root, **options):
    """Path -> content of all files that a project shows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BlobdirWarning)
        fs = blobdir.open_project(root, **{"index": "none"} | options).filesystem
    return {path: bytes(fs.cat_file(path)) for path in fs.find("")}


def seen(root, **options):
    """What a reader sees; None where it's told that something is wrong: by a defect, or a refusal."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BlobdirWarning)
            project = blobdir.open_project(root, **{"index": "none"} | options)
        if any(defect.severity == "error" for defect in project.defects):
            return None
        return shown(root, **options)
    except (BlobdirError, OSError):
        return None


def names(root, dataset, **options):
    """Names of a dataset's images; none where it isn't there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BlobdirWarning)
        project = blobdir.open_project(root, **{"index": "none"} | options)
    return project[dataset].names if dataset in project else []


def get(root, path, **options):
    """Content of a file as readers see it; the error where they can't."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BlobdirWarning)
            return bytes(blobdir.open_project(root, **{"index": "none"} | options).filesystem.cat_file(path))
    except (BlobdirError, OSError) as error:
        return error


def faults(root, **options):
    """What `verify` calls an error."""
    found = verify(root, **{"processes": 1} | options).findings
    return [(f.code, f.path, f.examples) for f in found if f.severity == "error"]


def is_image(path):
    return parts_of(path)[1] == "img" and splitext(path)[1].lower() in (".png", ".bmp")


def annotation_of(files, image):
    """Path of an image's annotation: by its whole name, else by its stem; empty where there is neither."""
    dataset, _, name = parts_of(image)
    paths = f"{dataset}/ann/{name}.json", f"{dataset}/ann/{splitext(name)[0]}.json"
    return next((path for path in paths if path in files), "")


def normal(files):
    """The same for two views that are worth the same.

    An annotation counts as its image's, whichever of the two names it has and whoever shares it; one without any
    content counts by its size; ``meta.json`` counts as what it says.
    """
    found = {}
    used = set()
    for path in files:
        if is_image(path):
            note = annotation_of(files, path)
            used.add(note)
            found[path] = files[path], _said(files[note]) if note else None
    for path, data in files.items():
        if path == "meta.json":
            found[path] = json.loads(data)
        elif path not in found and path not in used:
            found[path] = data
    return found


def _said(data):
    value = json.loads(data)
    empty = {"description": "", "tags": [], "size": value.get("size"), "objects": []}
    return empty["size"] if value == empty else data


def differences(found, expected):
    """What differs between two views, in words for an assertion; empty where nothing does."""
    found, expected = normal(found), normal(expected)
    said = [f"missing: {path!r}" for path in sorted(expected.keys() - found.keys())]
    said += [f"too many: {path!r}" for path in sorted(found.keys() - expected.keys())]
    same = sorted(found.keys() & expected.keys())
    return said + [f"another one: {path!r}: {found[path]!r:.200}" for path in same if found[path] != expected[path]]


def in_bucket(url):
    """Path -> content of all in a bucket, but for blobdir's own files."""
    fs, place = fsspec.filesystem("memory"), "/" + url.removeprefix("memory://")
    found = {path.removeprefix(place + "/"): fs.cat_file(path) for path in fs.find(place)}
    return {path: data for path, data in found.items() if not path.startswith(".blobdir/")}
