"""Planted faults of what lies around blobs: annotations, other files of images, links, folders, leftovers."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import pytest
from verifying.planted import ANNOTATION, COUNT, META, PLACES, codes, entries_of, found, picture, sums, swapped

from blobdir.offsets import write_offsets
from blobdir.packing.publishing import Change
from blobdir.sources import LocalStorage
from blobdir.verifying import verify

# -- side files, annotations, links, folders, what a killed change leaves ------------------------------------


def plant(path, data=b"{}"):
    return lambda made: made.loose(path, data)


def link(path, target):
    def do(made):
        (made.root / path).parent.mkdir(parents=True, exist_ok=True)
        (made.root / path).unlink(missing_ok=True)
        (made.root / path).symlink_to(target)

    return do


def staged(made):
    (made.root / ".blobdir/staging").mkdir(parents=True)
    made.loose(".blobdir/staging/train/x_offsets.pkl", b"x")


def whole_and_stem(folder, suffix, data):
    def do(made):
        for name in ("000001.png", "000001"):
            made.loose(f"train/{folder}/{name}{suffix}", data)

    return do


def pipe(path):
    def do(made):
        (made.root / path).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(made.root / path)

    return do


AROUND = {
    "annotation nobody uses": (whole_and_stem("ann", ".json", ANNOTATION), "annotation-unused", "train"),
    "meta nobody uses": (whole_and_stem("meta", ".json", b"{}"), "side-unused", "train"),
    "seg nobody uses": (whole_and_stem("seg", ".png", picture(1)), "side-unused", "train"),
    "meta.json that the SDK can't read": (
        plant("meta.json", json.dumps(META).encode("utf-16")), "sdk-encoding", "meta.json",
    ),
    "file in place of a folder": (plant("train/meta"), "not-a-folder", "train/meta"),
    "pipe in place of a folder": (pipe("train/meta"), "not-a-folder", "train/meta"),
    "pipe in place of the folder of images": (pipe("train/img"), "not-a-folder", "train/img"),
    "pipe in place of packed annotations": (pipe("train/ann.blob"), "not-a-folder", "train/ann.blob"),
    "file in place of the state": (plant(".blobdir"), "not-a-folder", ".blobdir"),
    "folder in place of an annotation": (
        plant("train/ann/x.png.json/y"), "not-a-file", "train/ann/x.png.json",
    ),
    "folder in place of a mask": (plant("train/seg/x.png/y"), "not-a-file", "train/seg/x.png"),
    "journal too deep to be read": (
        plant(".blobdir/journal.json", b"[" * 100_000), "change-unfinished", ".blobdir/journal.json",
    ),
    "pipe in place of the lock": (pipe(".blobdir/lock"), "offset-name", "train/a_offsets.pkl"),
    "pipe in place of an annotation": (pipe("train/ann/x.png.json"), "not-a-file", "train/ann/x.png.json"),
    "pipe in place of a mask": (pipe("train/seg/x.png.png"), "not-a-file", "train/seg/x.png.png"),
    "link to a folder of members": (link("pictures", "val/img"), "sdk-link", "pictures"),
    "link to a member": (link("train/img/x.png", "../../val/img/000101.png"), "sdk-link", "train/img/x.png"),
    "annotation that the SDK can't read": (
        plant("train/ann/000001.png.json", b"\xef\xbb\xbf" + ANNOTATION), "sdk-encoding", "train",
    ),
    **{
        f"{where} with {what}": (plant(where, text[:-1] + more), code, path)
        for where, text, path in (
            ("meta.json", json.dumps(META).encode(), "meta.json"),
            ("train/ann/000001.png.json", ANNOTATION, "train"),
            ("train/img_info/000001.png.json", b'{"x": 0}', "train"),
        )
        for what, more, code in (
            ("NaN", b', "y": NaN}', "json-number"),
            ("a key twice", b', "y": 1, "y": 2}', "json-unclear"),
            ("half a character", b', "y": "\\ud800"}', "json-unclear"),
        )
    },
    "meta of nobody": (plant("train/meta/x.png.json"), "side-without-image", "train"),
    "img_info of nobody": (plant("train/img_info/000099.png.json"), "side-without-image", "train"),
    "seg of nobody": (plant("train/seg/x.png.png", b"x"), "side-without-image", "train"),
    "mask of nobody": (plant("train/masks_machine/x.png", b"x"), "side-without-image", "train"),
    "masks of nobody": (plant("train/masks_instances/x/lemon_0.png", b"x"), "side-without-image", "train"),
    "meta in a folder": (plant("train/meta/sub/000001.png.json"), "side-without-image", "train"),
    "meta that isn't JSON": (plant("train/meta/000001.png.json", b"{"), "side-invalid", "train"),
    "img_info that isn't JSON": (plant("val/img_info/000101.png.json", b"\xff"), "side-invalid", "val"),
    **{
        f"{where} that {what}": (plant(where, data), code, where)
        for where in ("key_id_map.json", "obj_class_to_machine_color.json")
        for what, data, code in (
            ("isn't JSON", b"{", "side-invalid"),
            ("has a key twice", b'{"y": 1, "y": 2}', "json-unclear"),
        )
    },
    "annotation that isn't JSON": (plant("train/ann/000001.png.json", b"{"), "annotation-invalid", "train"),
    "annotation in a folder": (plant("train/ann/sub/x.png.json", ANNOTATION), "annotation-without-image", "train"),
    "bad annotation in a folder": (plant("train/ann/sub/x.png.json", b"[]"), "annotation-invalid", "train"),
    "annotation of nobody": (plant("train/ann/x.png.json", ANNOTATION), "annotation-without-image", "train"),
    "meta.json that isn't JSON": (plant("meta.json", b"{"), "meta", "meta.json"),
    "meta.json without lists": (plant("meta.json", b'{"classes": null, "tags": [5]}'), "meta", "meta.json"),
    "classes without title": (plant("meta.json", b'{"classes": [{"title": []}], "tags": []}'), "meta", "meta.json"),
    "dangling annotation": (link("train/ann/000001.png.json", "nowhere"), "link-dangling", "train/ann/000001.png.json"),
    "circular annotation": (
        link("train/ann/000001.png.json", "000001.png.json"), "link-circular", "train/ann/000001.png.json",
    ),
    "annotation outside": (
        link("train/ann/000001.png.json", "/etc/hostname"), "link-outside", "train/ann/000001.png.json",
    ),
    "image link": (link("train/img/x.png", "nowhere.png"), "link-dangling", "train/img/x.png"),
    "link to the folder above": (link("train/up", ".."), "link-circular", "train/up"),
    "link to itself as a folder": (link("train/here", "."), "link-circular", "train/here"),
    "link out of the project": (link("more", "/usr/lib"), "link-outside", "more"),
    "journal": (plant(".blobdir/journal.json"), "change-unfinished", ".blobdir/journal.json"),
    "staging": (staged, "change-leftover", ".blobdir/staging"),
    **{
        f"{what} in place of {name}": (planter(f".blobdir/{name}"), "state-odd", f".blobdir/{name}")
        for name in ("lock", "journal.json", "released.json", "back.json", "staging", "undo", "creating", "packing")
        for what, planter in (
            ("pipe", pipe),
            ("link", lambda path: link(path, "/etc")),
            ("dangling link", lambda path: link(path, "nowhere")),
            ("link to a file", lambda path: link(path, "../meta.json")),
            ("file", plant) if "." not in name and name != "lock" else ("folder", lambda path: plant(f"{path}/x")),
        )
    },
    "half a file": (
        plant("train/.blobdir-0123456789ab.tmp"), "change-leftover", "train/.blobdir-0123456789ab.tmp",
    ),
    "half a file of durable writing": (
        plant("train/ann/.blobdir-0123456789ab.tmp"), "change-leftover", "train/ann/.blobdir-0123456789ab.tmp",
    ),
    "pickle without blob": (
        lambda made: made.offsets("train", "nowhere", [(b"000001.png", 512, 600)]), "blob-missing", "blob/nowhere.tar",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", AROUND)
def test_around(made, fault):
    planter, code, path = AROUND[fault]
    planter(made)
    write_offsets(made.root / PLACES["images"][1], swapped(entries_of(made, "images")))
    seen = found(made)
    assert (code, path) in seen
    assert ("offset-name", PLACES["images"][1]) in seen


IMAGES = (
    "img/000050.png", "img/sub/000051.JPG", "seg/000001.png.png", "seg/000002.png", "masks_machine/000001.png",
    "masks_instances/000001/lemon_0.png", "masks_own/000001.png",
)  # fmt: skip


@pytest.mark.parametrize("beside", [False, True], ids=["here", "in processes"])
@pytest.mark.parametrize("form", ["file", "link"])
@pytest.mark.parametrize("path", IMAGES)
@pytest.mark.parametrize(
    ("data", "code"), [(b"", "empty"), (b"no image", "not-an-image"), (b"\x89PNG", "not-an-image"), (None, "")]
)
def test_images_that_are_files(made, path, data, code, form, beside, monkeypatch):
    """By the rule for images in blobs."""
    if beside:
        monkeypatch.setattr("blobdir.verifying.looking.MANY", 1)
    made.loose(f"train/{path}" if form == "file" else "other.png", picture(1) if data is None else data)
    if form == "link":
        link(f"train/{path}", os.path.relpath("other.png", os.path.dirname(f"train/{path}")))(made)
    if path.startswith("img/"):
        made.loose(f"train/ann/{path[4:]}.json", ANNOTATION)
    seen = found(made, processes=2)
    expected = {(code, "train")} if code else set()
    assert seen.keys() - {("sdk-folder", "train")} == expected
    if code:
        (said,) = seen[code, "train"].examples
        assert said.startswith(f"{path} ")


def test_links_to_members_are_looked_at(made):
    made.offsets("more", "c", made.tar("c", {"x.png": b"no image", "y.png": picture(1)}))
    for name in ("x.png", "y.png"):
        made.loose(f"more/ann/{name}.json", ANNOTATION)
        made.loose(f"train/ann/{name}.json", ANNOTATION)
        link(f"train/img/{name}", f"../../more/img/{name}")(made)
    sums(made)
    seen = found(made)
    assert seen.keys() == {
        ("sdk-link", "train/img/x.png"), ("sdk-link", "train/img/y.png"), ("not-an-image", "blob/c.tar"),
        ("not-an-image", "train"),
    }  # fmt: skip
    assert seen["not-an-image", "train"].examples == ["img/x.png doesn't begin like an image"]
    assert found(made, audience="supervisely")["sdk-link", "train/img/x.png"].severity == "error"


@pytest.mark.parametrize("damaged", [False, True])
def test_a_folder_that_is_a_link_to_what_only_blobs_hold(made, damaged):
    """All of its names are known, if those of the folder that it leads to are."""
    made.offsets("more", "c", made.tar("c", {"x.png": picture(1)}))
    made.loose("more/ann/x.png.json", ANNOTATION)
    (made.root / "linked").mkdir()
    link("linked/img", "../more/img")(made)
    made.loose("linked/ann/x.png.json", ANNOTATION)
    made.loose("linked/ann/y.png.json", ANNOTATION)
    if damaged:
        made.loose("more/d_offsets.pkl", b"no pickle")
    sums(made)
    seen = found(made)
    assert ("sdk-link", "linked/img") in seen or damaged
    assert (("not-checked", "linked/img") in seen) == damaged
    assert (("annotation-without-image", "linked") in seen) != damaged


def test_an_annotation_by_the_stem_that_another_image_uses(made):
    made.offsets("train", "c", made.tar("c", {"000001.bmp": b"BM" + picture(1)}))
    made.loose("train/ann/000001.json", ANNOTATION)
    sums(made)
    assert codes(made) == set()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_files_that_cant_be_read(made):
    """What they are isn't known: they aren't said to be invalid."""
    made.loose("train/seg/000001.png.png", picture(1))
    made.loose("train/meta/000001.png.json", b"{}")
    paths = ["train/seg/000001.png.png", "train/meta/000001.png.json", "train/ann/000001.png.json", "blob/b.tar"]
    for path in paths:
        (made.root / path).chmod(0)
    for folder in [made.root, *made.root.parents]:
        folder.chmod(folder.stat().st_mode | 0o055) if folder.is_relative_to(made.root.parents[2]) else None
    script = (
        "import os, sys, json, blobdir.verifying as v\nos.setgid(65534); os.setuid(65534)\n"
        "report = v.verify(sys.argv[1])\n"
        "print(json.dumps([(f.code, f.path, f.count) for f in report.findings]))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, made.root], capture_output=True, text=True, check=True
    )
    seen = {tuple(finding) for finding in json.loads(done.stdout)}
    assert {("unreadable", "train"), ("blob-unreadable", "blob/b.tar")} <= {finding[:2] for finding in seen}
    assert ("unreadable", "train", 3) in seen
    assert not any(code.endswith("-invalid") for code, _, _ in seen)


def test_what_belongs_to_an_image_is_no_fault(made):
    for path in (
        "meta/000001.png.json", "meta/000002.json", "img_info/000001.png.json", "seg/000001.png.png", "seg/000003.png",
        "masks_machine/000001.png", "masks_human/000001.png.png", "masks_instances/000001/lemon_0.png",
    ):  # fmt: skip
        made.loose(f"train/{path}", b"{}" if path.endswith(".json") else picture(1))
    assert found(made) == {}
    report = verify(made.root)
    assert (report.annotations, report.files, report.masks) == (2 * COUNT, 8, 5)


def test_unlistable_folder(made, monkeypatch):
    listed = LocalStorage._list

    def refused(self, path, follow_links):
        if path == "train/ann":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return listed(self, path, follow_links)

    monkeypatch.setattr(LocalStorage, "_list", refused)
    seen = found(made)
    assert {("folder-unreadable", "train/ann"), ("not-checked", "train/ann")} <= seen.keys()
    assert "image-without-annotation" not in {code for code, _ in seen}


def test_another_writer_is_said(made, monkeypatch):
    monkeypatch.setattr("blobdir.packing.locking.WAIT_S", 0.05)
    with Change(str(made.root)):
        seen = found(made)
    assert ("not-checked", ".blobdir") in seen
    assert {code for code, _ in seen} == {"not-checked"}


def test_a_link_to_inside_is_no_fault(made):
    (made.root / "train/img").mkdir()
    made.loose("train/ann/link.png.json", ANNOTATION)
    made.loose("plain.png", picture(1))
    (made.root / "train/img/link.png").symlink_to("../../plain.png")
    assert found(made) == {}


@pytest.mark.parametrize(
    "text",
    [
        b"null", b"[]", b'"text"', b"5", b"true", b"{", b"\xff", b"\xef\xbb\xbf{}", b"{}", b"[" * 100_000,
        b'{"size": null, "objects": []}', b'{"size": {"height": "7", "width": 9}, "objects": []}',
        *(
            b'{"size": {"height": %s, "width": 9}, "objects": [], "tags": []}' % side
            for side in (b"0", b"-7", b"true", b"7.0", b"7.5", b"NaN", b"2147483648", b"1" + b"0" * 400, b"null")
        ),
        b'{"size": {"height": 7, "width": 9}, "objects": [], "tags": {}}',
        b'{"size": {"height": 7, "width": 9}}', b'{"size": {"height": 7, "width": 9}, "objects": {}}',
        b'{"size": {"height": 7, "width": 9}, "objects": ["box"]}',
        b'{"size": {"height": 7, "width": 9}, "objects": [{}]}',
        b'{"size": {"height": 7, "width": 9}, "objects": [{"classTitle": []}]}',
        b'{"size": {"height": 7, "width": 9}, "objects": [], "tags": null}',
        b'{"size": {"height": 7, "width": 9}, "objects": [], "tags": ["ripe"]}',
        b'{"size": {"height": 7, "width": 9}, "objects": [], "tags": [{"name": {}}]}',
        b'{"size": {"height": 7, "width": 9}, "objects": [{"classTitle": "lemon", "tags": 5}]}',
    ],
)  # fmt: skip
def test_in_words_of_the_format(made, text):
    made.loose("train/ann/000003.png.json", text)
    (finding,) = found(made).values()
    assert (finding.code, finding.count) == ("annotation-invalid", 1)
    (said,) = finding.examples
    assert said.startswith("000003.png.json: ")
    assert not {"Error", "NoneType", "subscriptable", "indices", "iterable", "hashable", "attribute"} & set(
        said.replace("'", " ").replace(":", " ").split()
    )
