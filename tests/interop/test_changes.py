"""A project that was changed by every command, one after the other, is to the SDK what a plain model says."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path

import supervisely as sly
from PIL import Image

import blobdir
from blobdir.packing import SubsetOptions, add, compact, merge, move, remove, subset
from blobdir.verifying import verify

Model = dict[str, dict[str, tuple[bytes, str]]]
"""Dataset -> name -> bytes of the image, and the description in its annotation."""


def picture(seed: str) -> bytes:
    file = io.BytesIO()
    Image.frombytes("RGB", (8, 8), random.Random(seed).randbytes(192)).save(file, "PNG")
    return file.getvalue()


def write(folder: Path, model: Model) -> Path:
    """As a regular project."""
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps(sly.ProjectMeta().to_json()))
    for dataset, images in model.items():
        for kind in ("img", "ann", "meta"):
            (folder / dataset / kind).mkdir(parents=True)
        for name, (data, text) in images.items():
            (folder / dataset / "img" / name).write_bytes(data)
            note = sly.Annotation((8, 8), img_description=text).to_json()
            (folder / dataset / "ann" / f"{name}.json").write_text(json.dumps(note))
            (folder / dataset / "meta" / f"{name}.json").write_text(json.dumps({"text": text}))
    return folder


def some(dataset: str, names: list[str]) -> dict[str, tuple[bytes, str]]:
    return {name: (picture(f"{dataset} {name}"), f"{dataset} {name}") for name in names}


def is_what_the_sdk_sees(root: Path, model: Model) -> None:
    assert verify(root).errors == 0
    project = sly.Project(str(root), sly.OpenMode.READ)
    assert {d.name: sorted(d) for d in project.datasets} == {d: sorted(images) for d, images in model.items() if images}
    for dataset in project.datasets:
        for name, (data, text) in model[dataset.name].items():
            assert dataset.get_blob_img_bytes(name) == data
            assert dataset.get_ann(name, project.meta).img_description == text
            if not text.startswith("new"):  # those were added without
                assert json.loads(Path(dataset.get_item_meta_path(name)).read_text()) == {"text": text}


def test_one_change_after_the_other(tmp_path: Path) -> None:
    odd = ["000011.png", "000012.png", "a.png", "a_1.png", "A.png", "with space.png", "é.png", "n" * 246 + ".png"]
    model: Model = {"train": some("train", odd), "val": some("val", odd[:3]), "a-b": some("a-b", odd[2:5])}
    root = tmp_path / "p"
    source = write(tmp_path / "source", model)
    blobdir.pack(source, root, blobdir.PackOptions(shard_images=3, processes=1))
    is_what_the_sdk_sees(root, model)

    new = write(tmp_path / "new", {"d": some("new", ["b.png", "000011.png"])})
    add(root, "val", [new / "d/img/b.png", new / "d/img/000011.png"], annotations=new / "d/ann", replace=True)
    model["val"] |= some("new", ["b.png", "000011.png"])
    is_what_the_sdk_sees(root, model)

    remove(root, ["train/000012.png", "train/a.png", f"train/{odd[-1]}"])
    for name in ("000012.png", "a.png", odd[-1]):
        del model["train"][name]
    is_what_the_sdk_sees(root, model)

    move(root, ["train/a_1.png", "val/000012.png"], "moved")
    model["moved"] = {"a_1.png": model["train"].pop("a_1.png"), "000012.png": model["val"].pop("000012.png")}
    is_what_the_sdk_sees(root, model)

    fs = blobdir.open_project(root).filesystem
    with fs.transaction:
        fs.rm("val/img/a.png")
        fs.mv("train/img/A.png", "val/img/from train.png")
        fs.pipe("a-b/img/a.png", picture("piped"))
    del model["val"]["a.png"]
    model["val"]["from train.png"] = model["train"].pop("A.png")
    model["a-b"]["a.png"] = picture("piped"), model["a-b"]["a.png"][1]
    is_what_the_sdk_sees(root, model)

    compact(root)
    is_what_the_sdk_sees(root, model)

    other: Model = {"other": some("other", odd[:4]), "moved": some("other", ["c.png"])}
    blobdir.pack(write(tmp_path / "other.source", other), tmp_path / "other", blobdir.PackOptions(processes=1))
    merge(root, tmp_path / "other")
    model["other"] = other["other"]
    model["moved"] |= other["moved"]
    is_what_the_sdk_sees(root, model)
    is_what_the_sdk_sees(tmp_path / "other", other)

    chosen = {dataset: {n: found for n, found in images.items() if "a" in n} for dataset, images in model.items()}
    names = [f"{dataset}/{name}" for dataset, images in chosen.items() for name in images]
    subset(root, tmp_path / "s", SubsetOptions(names=names))
    is_what_the_sdk_sees(tmp_path / "s", {dataset: images for dataset, images in chosen.items() if images})
    compact(tmp_path / "s")
    is_what_the_sdk_sees(tmp_path / "s", {dataset: images for dataset, images in chosen.items() if images})
    is_what_the_sdk_sees(root, model)
