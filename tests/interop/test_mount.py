"""The SDK on a mount: what it does with a plain project, it does with the mounted one, with the same results."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import supervisely as sly
from PIL import Image

import blobdir
from blobdir.erofs.gate import judge, look
from blobdir.offsets import read_offsets, write_offsets
from blobdir.testing.deadline import Deadline

pytestmark = pytest.mark.mounts

NO_KERNEL = "; ".join(judge(look()).reasons) if judge(look()).backing == "none" else ""
KERNEL = pytest.param("kernel", marks=[pytest.mark.platform, pytest.mark.skipif(bool(NO_KERNEL), reason=NO_KERNEL)])


@pytest.fixture(scope="module", params=["native", "fusepy", KERNEL])
def mounted(digits: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("mnt")
    with Deadline(170, place.parent), blobdir.mount(digits, place, engine=request.param) as path:
        yield path


def digest(folder: Path) -> dict[str, str]:
    """Path -> what is in it; JSON by its meaning, since the SDK writes some lists in the order of a set."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        data = path.read_bytes()
        if path.suffix == ".json":
            data = json.dumps(normal(json.loads(data)), sort_keys=True).encode()
        elif path.suffix == ".txt":
            data = b"\n".join(sorted(data.splitlines()))
        found[str(path.relative_to(folder))] = hashlib.sha256(data).hexdigest()
    return found


def normal(value: Any, key: str = "") -> Any:
    """JSON without what is new in every run (identifiers, times), and without the order of listings."""
    if isinstance(value, dict):
        names = {image["id"]: image["file_name"] for image in value.get("images", ())}  # COCO
        for annotation in value.get("annotations", ()) if names else ():
            annotation["image_id"] = names[annotation["image_id"]]
        return {k: normal(v, k) for k, v in value.items() if k not in ("id", "key", "date_created", "createdAt")}
    if isinstance(value, list):
        return sorted((normal(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return str(Path(value).name) if key in ("file_name", "path") else value


def test_project(mounted: Path, digits_plain: Path) -> None:
    ours, theirs = (sly.Project(str(path), sly.OpenMode.READ) for path in (mounted, digits_plain))
    assert ours.total_items == theirs.total_items == 245
    assert ours.meta == theirs.meta
    assert [dataset.name for dataset in ours.datasets] == [dataset.name for dataset in theirs.datasets]
    for dataset in theirs.datasets:
        mine = ours.datasets.get(dataset.name)
        assert sorted(mine) == sorted(dataset)
        for name in dataset:
            assert Path(mine.get_img_path(name)).read_bytes() == Path(dataset.get_img_path(name)).read_bytes()
            assert mine.get_ann(name, ours.meta).to_json() == dataset.get_ann(name, theirs.meta).to_json()
            assert np.array_equal(cv2.imread(mine.get_img_path(name)), cv2.imread(dataset.get_img_path(name)))


@pytest.mark.parametrize(
    "work",
    [
        pytest.param(lambda p, out: p.copy_data(str(out), "copy"), id="copy_data"),
        pytest.param(lambda p, out: p.to_coco(str(out / "coco"), copy_images=True, log_progress=False), id="to_coco"),
        pytest.param(lambda p, out: p.to_yolo(str(out / "yolo"), log_progress=False), id="to_yolo"),
        pytest.param(
            lambda p, out: sly.Project.to_segmentation_task(p.directory, str(out / "segmentation")),
            id="to_segmentation_task",
        ),
    ],
)
def test_the_same_results(
    mounted: Path, digits_plain: Path, tmp_path: Path, work: Callable[[sly.Project, Path], object]
) -> None:
    """Each in a folder of its own, from projects of the same name: some names of files are made from it."""
    results = []
    for name, source in (("ours", mounted), ("theirs", digits_plain)):
        (tmp_path / name).mkdir()
        project = tmp_path / name / "digits"
        project.symlink_to(source)
        (tmp_path / name / "out").mkdir()
        work(sly.Project(str(project), sly.OpenMode.READ), tmp_path / name / "out")
        results.append(digest(tmp_path / name / "out"))
        shutil.rmtree(tmp_path / name / "out")
    assert results[0] == results[1]
    assert len(results[0]) > 200


def test_to_pascal_voc(digits: Path, digits_plain: Path, tmp_path: Path) -> None:
    """Of images without transparency, and no nested datasets: the SDK can't convert others, wherever they lie."""
    results = []
    for name, source in (("ours", digits), ("theirs", digits_plain)):
        project = shutil.copytree(source, tmp_path / name / "digits")
        shutil.rmtree(project / "train/datasets")
        for dataset in sly.Project(str(digits_plain), sly.OpenMode.READ).datasets:
            if dataset.parents:
                continue
            opaque = {i for i in dataset if Image.open(dataset.get_img_path(i)).mode == "RGB"}
            folder = project / Path(dataset.directory).relative_to(digits_plain)
            for image in set(dataset) - opaque:
                (folder / "ann" / f"{image}.json").unlink(missing_ok=True)
                (folder / "img" / image).unlink(missing_ok=True)
            for pickle in folder.glob("*_offsets.pkl"):
                entries = [(e.name, e.offset_start, e.offset_end) for e in read_offsets(pickle) if e.name in opaque]
                write_offsets(pickle, entries)
        with Deadline(100, tmp_path), blobdir.mount(project) if name == "ours" else nullcontext(project) as path:
            (tmp_path / name / "work").mkdir()
            link = tmp_path / name / "work/digits"
            link.symlink_to(path)
            out = tmp_path / name / "voc"
            sly.Project(str(link), sly.OpenMode.READ).to_pascal_voc(str(out), 1.0, log_progress=False)
            found = digest(out)  # pictures of classes differ from run to run, on plain files too
            results.append({name: "" if name.endswith("_class.png") else data for name, data in found.items()})
    assert results[0] == results[1]
    assert len(results[0]) > 200
