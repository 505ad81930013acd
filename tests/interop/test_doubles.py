"""`verify` finds one annotation for two images just where the SDK does."""

from __future__ import annotations

import itertools
import json
import logging
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
import supervisely as sly

from blobdir.offsets import offsets_of_tar, write_offsets
from blobdir.verifying import verify

IMAGES = ("b", "b.png", "b.jpg", "b.png.png", "b.png.jpg", ".png", "b.json", "b.json.png", "b.PNG")
ANNOTATIONS = ("b.json", "b.png.json", "b.png.png.json", ".json", "b.JSON", "b.json.json", ".png.json")
CODE = "sdk-double"
EMPTY = json.dumps({"description": "", "tags": [], "size": {"height": 1, "width": 1}, "objects": []})


CASES = [some for size in (1, 2) for some in itertools.combinations(ANNOTATIONS, size)]


def project(root: Path, packed: list[str], loose: list[str]) -> None:
    """Write one that has a dataset for each case. Pictures have no content: only names count."""
    (root / "blob").mkdir(parents=True)
    (root / "meta.json").write_text(json.dumps({"classes": [], "tags": [], "projectType": "images"}))
    with tarfile.open(root / "blob/a.tar", "w") as tar:
        for name in packed:
            tar.addfile(tarfile.TarInfo(name), BytesIO())
    for number, some in enumerate(CASES):
        dataset = root / f"d{number}"
        for folder in ("img", "ann"):
            (dataset / folder).mkdir(parents=True)
        if packed:
            write_offsets(dataset / "a_offsets.pkl", offsets_of_tar(root / "blob/a.tar", lambda _: True).entries())
        for name in loose:
            (dataset / "img" / name).touch()
        for name in some:
            (dataset / "ann" / name).write_text(EMPTY)


def is_double(dataset: Path) -> bool | None:
    """Whether the SDK finds one annotation for two images; None where another thing keeps it from reading."""
    try:
        sly.Dataset(str(dataset), sly.OpenMode.READ)
    except RuntimeError as error:
        return True if "matches two different image files" in str(error) else None
    return False


@pytest.fixture(autouse=True)
def silent() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(before)


@pytest.mark.parametrize("where", ["packed", "loose", "both"])
@pytest.mark.parametrize("pair", list(itertools.combinations(IMAGES, 2)), ids="+".join)
def test_one_annotation_for_two_images(tmp_path: Path, pair: tuple[str, str], where: str) -> None:
    packed = list(pair) if where == "packed" else [pair[0]] if where == "both" else []
    project(tmp_path, packed, [name for name in pair if name not in packed])
    said = {finding.path for finding in verify(tmp_path, audience="supervisely").findings if finding.code == CODE}
    for number, some in enumerate(CASES):
        theirs = is_double(tmp_path / f"d{number}")
        if theirs is not None:
            assert (f"d{number}" in said) == theirs, some
