"""New projects, ready-made tars, and one project taken into another."""

from __future__ import annotations

import json
import os
import re
import shutil
from contextlib import nullcontext

import fsspec
import pytest
from blob_builder import Builder
from PIL import Image

import blobdir
from blobdir.errors import AnnotationError, TarError, UsageError
from blobdir.packing import add_blob_file, create_project, merge
from blobdir.packing.merging import merged_meta
from blobdir.verifying import verify

JPEG = b"\xff\xd8\xff"


def view(root):
    fs = blobdir.open_project(root, index="none").filesystem
    return {path: bytes(fs.cat_file(path)) for path in fs.find("") if not path.startswith(".")}


def packed(folder, names):
    source = folder / "source"
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((10, 10), 60).save(source / name)
    blobdir.pack(source, folder / "p")
    return folder / "p"


@pytest.fixture
def two(tmp_path):
    ours = packed(tmp_path / "a", ["train/1.png", "train/2.png", "test/3.png"])
    theirs = packed(tmp_path / "b", ["train/4.png", "train/tagged/5.png", "val/6.png"])
    return ours, theirs


def test_merge(two):
    ours, theirs = two
    before, other = view(ours), view(theirs)
    report = merge(ours, theirs)
    assert report.images == 3
    after = view(ours)
    del before["meta.json"], other["meta.json"]
    assert {path: after[path] for path in (*before, *other)} == before | other
    assert [tag["name"] for tag in json.loads(after["meta.json"])["tags"]] == ["tagged"]
    names = sorted(path.name.rpartition("-")[0] for path in (ours / "blob").glob("*.tar"))
    assert len(names) == 4 and len(report.blobs) == 2
    theirs_val = next((theirs / "blob").glob("val-*.tar"))
    assert os.path.samefile(ours / "blob" / theirs_val.name, theirs_val)
    found = verify(ours, decode=True)
    assert (found.findings, found.checksums) == ([], 4)
    assert view(theirs)["val/img/6.png"] == after["val/img/6.png"]


def test_merge_of_the_same(two):
    ours, _ = two
    before = view(ours)
    with pytest.raises(UsageError, match="is the same project"):
        merge(ours, ours.parent / "p")
    shutil.copytree(ours, ours.parent / "copy")
    with pytest.raises(UsageError, match=r"both projects have"):
        merge(ours, ours.parent / "copy")
    assert view(ours) == before


def test_meta():
    ours = {"classes": [{"title": "a", "shape": "rectangle"}], "tags": [], "projectType": "images"}
    theirs = {
        "classes": [{"title": "b", "shape": "point"}, {"title": "a", "shape": "rectangle"}],
        "tags": [{"name": "t"}],
    }
    assert [item["title"] for item in merged_meta(ours, theirs)["classes"]] == ["a", "b"]
    with pytest.raises(UsageError, match='\'a\' has the shape "rectangle" in one project and "polygon" in the other'):
        merged_meta(ours, {"classes": [{"title": "a", "shape": "polygon"}]})


@pytest.mark.parametrize(
    ("ours", "theirs", "both"),
    [
        (["car"], ["dog"], ["car", "dog"]),
        (["car", "dog"], ["dog"], ["car", "dog"]),
        (["car"], [], []),
        ([], ["car"], []),
        (["car"], None, []),
        (None, ["car"], []),
        ([], None, []),
    ],
)
def test_a_tag_for_objects_of_some_classes(ours, theirs, both):
    """It's for those of both projects; without any in one of them, for objects of all classes."""
    tag = {"name": "t", "value_type": "none", "applicable_type": "objectsOnly"}
    metas = [{"tags": [tag | ({} if some is None else {"classes": some})]} for some in (ours, theirs)]
    assert merged_meta(*metas)["tags"] == [tag | {"classes": both}]
    if not both:
        metas[0]["tags"][0]["default"] = True
        with pytest.raises(UsageError, match=r"'t' has the classes .* rename one") if ours or theirs else nullcontext():
            merged_meta(*metas)
    if ours:
        metas[0]["tags"][0]["classes"] = {"car": 1}
        with pytest.raises(UsageError, match=r"'t' has the classes .* rename one"):
            merged_meta(*metas[::-1] if theirs else [metas[0], {"tags": [tag | {"classes": ["dog"]}]}])


ODD = [[], ["car"], {"car": 1}, 1, None, True]


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize(("key", "name"), [("classes", "title"), ("tags", "name")])
def test_a_class_or_tag_whose_name_is_no_text(two, key, name, odd):
    """Nobody could say which one it is: whatever reads or writes it says so, and changes nothing."""
    value = {"classes": [], "tags": [], "projectType": "images"} | {key: [{name: odd, "shape": "any"}]}
    match = rf"meta\.json: {key} must be a list of objects with a {name} each; nothing was changed"
    with pytest.raises(AnnotationError, match=match):
        blobdir.Project.create(two[0].parent / "new", value)
    fs = fsspec.filesystem("blobdir", fo=str(two[0]), skip_instance_cache=True)
    with pytest.raises(AnnotationError, match=match), fs.transaction:
        fs.pipe("meta.json", json.dumps(value).encode())
    (two[0] / "meta.json").write_text(json.dumps(value))
    before = view(two[0]), view(two[1])
    for order in (1, -1):
        with pytest.raises(AnnotationError, match=match):
            merge(*two[::order])
    assert (view(two[0]), view(two[1])) == before


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("odd", [[], ["any"], {"any": 1}, 1, True], ids=repr)
def test_a_class_whose_shape_is_no_text(odd, order):
    """The same in both stays as it is; else nobody can say what it would be, not even beside any shapes."""
    ours, theirs = [{"classes": [{"title": "a", "shape": shape}]} for shape in (odd, "any")][::order]
    assert merged_meta(ours, ours) == ours
    with pytest.raises(UsageError, match="'a' has the shape .* rename one"):
        merged_meta(ours, theirs)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("says", [True, False])
def test_objects_of_a_class_that_gets_any_shapes_say_theirs(two, says, order):
    """Older exports leave it out where the class has one shape; nobody would know it then."""
    points = {"exterior": [[0, 0], [5, 5]], "interior": []}
    item = {"classTitle": "car", "tags": [], "points": points} | ({"geometryType": "rectangle"} if says else {})
    label = {"description": "", "tags": [], "size": {"height": 10, "width": 10}, "objects": [item]}
    for root, shape in zip(two, ("rectangle", "any"), strict=True):
        classes = [{"title": "car", "shape": shape, "color": "#00FF00"}]
        (root / "meta.json").write_text(json.dumps({"classes": classes, "tags": [], "projectType": "images"}))
    (two[0] / "train/ann/1.png.json").write_text(json.dumps(label))
    before = view(two[0]), view(two[1])
    if says:
        merge(*two[::order])
        assert json.loads(view(two[::order][0])["meta.json"])["classes"][0]["shape"] == "any"
        return
    with pytest.raises(UsageError, match=r"train/ann/1\.png\.json: .*geometryType"):
        merge(*two[::order])
    assert (view(two[0]), view(two[1])) == before


@pytest.mark.parametrize("shape", ["rectangle", "polygon", "bitmap", "point", "any"])
def test_a_class_that_has_any_shapes_in_one_project(shape):
    """As one has that nobody has used there yet; its objects are what they were."""
    for shapes in ((shape, "any"), ("any", shape)):
        ours, theirs = ({"classes": [{"title": "a", "shape": one}], "tags": []} for one in shapes)
        assert merged_meta(ours, theirs)["classes"] == [{"title": "a", "shape": "any"}]
        assert [one["classes"][0]["shape"] for one in (ours, theirs)] == list(shapes)
    graph = {"classes": [{"title": "a", "shape": "graph", "geometry_config": {"nodes": {}, "edges": []}}]}
    with pytest.raises(UsageError, match="'a' has the shape"):
        merged_meta(graph, {"classes": [{"title": "a", "shape": "any"}]})


def test_create_and_add_blob_file(tmp_path):
    project = blobdir.Project.create(tmp_path / "p", {"classes": [], "tags": [], "projectType": "images"})
    assert list(project) == []
    made = Builder(tmp_path / "other")
    made.tar("ready", {"folder/x.jpg": JPEG + b"x", "y.jpg": JPEG + b"y"})
    report = project.add_blob_file(made.root / "blob/ready.tar", "train/new")
    assert list(project) == ["train/new"]
    assert report.images == 2
    dataset = blobdir.open_project(tmp_path / "p")["train/new"]
    assert dataset.names == ["x.jpg", "y.jpg"]
    assert dataset.get_blob_img_bytes("x.jpg") == JPEG + b"x"
    assert re.fullmatch(r"blob/ready-[0-9a-f]{8}\.tar", *report.blobs)
    assert not os.path.samefile(tmp_path / "p" / report.blobs[0], made.root / "blob/ready.tar")
    linked = add_blob_file(tmp_path / "p", made.root / "blob/ready.tar", "linked", link=True)
    assert os.path.samefile(tmp_path / "p" / linked.blobs[0], made.root / "blob/ready.tar")
    with pytest.raises(UsageError, match="are in train/new already"):
        add_blob_file(tmp_path / "p", made.root / "blob/ready.tar", "train/new")
    with pytest.raises(UsageError, match="is there already"):
        create_project(tmp_path / "p")
    (tmp_path / "bad.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(TarError):
        add_blob_file(tmp_path / "p", tmp_path / "bad.tar", "train")
