"""What would fail on the way to the platform, or be dropped there: `verify` names it before."""

from __future__ import annotations

import json
import shutil
from codecs import BOM_UTF8

import pytest
import sdk_cases as cases
import supervisely as sly
from blob_builder import Builder
from interop.platform_stand_in import WORKSPACE
from interop.test_platform import META, differences, download, picture, platform, said, silent, write

import blobdir
from blobdir.verifying import verify

assert platform
assert silent
NAMES = ["a.png", "b.png"]
MARKED = BOM_UTF8 + json.dumps(cases.annotation()).encode()
BOX = cases.object_of("rectangle")


def made(root):
    """Two datasets of two images, one in the other."""
    project = Builder(root)
    project.loose("meta.json", json.dumps(META).encode())
    for number, dataset in enumerate(("train", "train/datasets/hard")):
        project.offsets(
            dataset, f"b{number}", project.tar(f"b{number}", {name: picture(i) for i, name in enumerate(NAMES)})
        )
        for name in NAMES:
            project.loose(f"{dataset}/ann/{name}.json", json.dumps(cases.annotation(BOX)).encode())
    return project


def annotated(*things, **more):
    return lambda p: write(p.root / "train/ann/a.png.json", cases.annotation(*things, **more))


def beside(path, value):
    return lambda p: write(p.root / path, value)


def with_meta(**more):
    return lambda p: write(p.root / "meta.json", META | more)


def images(dataset, blob, members, *, annotations=True):
    def plant(p):
        p.offsets(dataset, blob, p.tar(blob, members))
        for name in members if annotations else ():
            write(p.root / dataset / f"ann/{name}.json", cases.annotation())

    return plant


def without(key, value):
    return {k: v for k, v in value.items() if k != key}


def no_images_above(p):
    shutil.move(p.root / "train/datasets/hard", p.root / "above/datasets/hard")


def project_inside(p):
    write(p.root / "train/inner/meta.json", META)
    write(p.root / "train/inner/ds/img/a.png", picture(5))
    write(p.root / "train/inner/ds/ann/a.png.json", cases.annotation())


def in_a_folder(p):
    ((_, start, end),) = p.tar("more", {"sub/c.png": picture(8)})
    p.offsets("train", "more", [(b"sub/c.png", start, end)])
    write(p.root / "train/ann/sub/c.png.json", cases.annotation())


def packed_annotations(p):
    p.offsets("train/ann.blob", "n", p.tar("n", {"a.png.json": b"{}"}, folder="train/ann.blob"))


def damaged(p):
    members = {"c.png": picture(3)[:40] + b"\0" * 40}
    images("train", "damaged", members)(p)


FAULTS = {
    # objects and tags
    **{
        case: ("sdk-upload", beside(path.format("a.png"), value))
        for case, (path, value) in cases.NOT_UPLOADED.items()
    },
    "no points": ("sdk-object", annotated(without("points", BOX))),
    "unknown class": ("class-unknown", annotated(BOX | {"classTitle": "pear"})),
    "unknown tag": ("tag-unknown", annotated(tags=[{"name": "pear"}])),
    "no tags": ("sdk-tag", beside("train/ann/a.png.json", without("tags", cases.annotation()))),
    "another size": ("annotation-size", annotated(size={"height": 9, "width": 8})),
    "not a number": ("json-number", annotated(json_extra=float("nan"))),
    "byte order mark": ("sdk-encoding", beside("train/ann/a.png.json", MARKED)),
    "no annotation": ("image-without-annotation", lambda p: (p.root / "train/ann/a.png.json").unlink()),
    # meta.json
    "class twice": ("sdk-meta", with_meta(classes=META["classes"] * 2)),
    # files of images
    "meta of an image is no JSON": ("side-invalid", beside("train/meta/a.png.json", b"{")),
    # datasets
    "dataset above without images": ("sdk-upload", no_images_above),
    "a name that ends in ann": ("sdk-name", images("johann", "j", {"c.png": picture(4)})),
    "a dataset directly in another": (
        "sdk-name",
        lambda p: [images(path, f"j{path[0]}", {"c.png": picture(4)})(p) for path in ("train/inner", "inner")],
    ),
    "an empty dataset": ("sdk-empty", lambda p: (p.root / "empty/ann").mkdir(parents=True)),
    "a project inside": ("sdk-upload", project_inside),
    # images
    "a name twice": ("sdk-double", images("train", "more", {"a.png": picture(8)})),
    "a name in img and a blob": ("sdk-double", beside("train/img/a.png", picture(8))),
    "in a folder": ("sdk-folder", in_a_folder),
    "without extension": ("sdk-upload", images("train", "more", {"c": picture(8)})),
    "not decodable": ("not-decodable", damaged),
    # blobs
    "another file of a blob's stem": ("sdk-upload", beside("blob/b0.aa", b"something")),
    "a blob that isn't there": ("blob-missing", lambda p: (p.root / "blob/b0.tar").unlink()),
    "packed annotations": ("sdk-packed", packed_annotations),
}  # fmt: skip


def view(root):
    project = blobdir.open_project(root, on_defect="ignore")
    return {
        path: {
            name: (
                dataset.get_blob_img_bytes(name),
                said(dataset.annotation(name)),
                json.loads(meta.read_bytes()) if (meta := root / dataset.path / f"meta/{name}.json").exists() else None,
            )
            for name in dataset.names
        }
        for path, dataset in project.items()
    }


def settings(root):
    meta = sly.ProjectMeta.from_json(json.loads((root / "meta.json").read_bytes()))
    return meta.project_settings.multiview_enabled, meta.project_settings.multiview_tag_name


def arrives(platform, root, back):
    """Whether all of a project comes to the platform and back."""
    try:
        expected = view(root)
        number, _ = sly.upload_project(str(root), platform.api, WORKSPACE, log_progress=False)
        download(platform, number, back, "async")
        differences(expected, view(back))
        assert settings(back) == settings(root)
    except Exception as error:
        return repr(error)
    return ""


def errors(root):
    report = verify(root, decode=True, audience="supervisely", processes=1)
    return {f.code: f.examples for f in report.findings if f.severity == "error"}


def test_without_a_fault(platform, tmp_path):
    project = made(tmp_path / "p")
    assert errors(project.root) == {}
    assert arrives(platform, project.root, tmp_path / "back") == ""


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_arrive_is_an_error_before(platform, tmp_path, fault):
    code, plant = FAULTS[fault]
    project = made(tmp_path / "p")
    plant(project)
    found, lost = errors(project.root), arrives(platform, project.root, tmp_path / "back")
    assert (code in found, lost != "") == (True, True), (found, lost)
