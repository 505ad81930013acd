"""Names of entries: those that are right, those that aren't, and what the SDK drops."""

from __future__ import annotations

import os
import shutil
import tarfile
from io import BytesIO

import pytest
from verifying.planted import ANNOTATION, codes, found, name, offsets_repeated, picture, sums

from blobdir.offsets import offsets_of_tar, write_offsets

# -- names that are right ------------------------------------------------------------------------------------


def tar_of(made, members, form=tarfile.GNU_FORMAT):
    """Write ``blob/a.tar`` of (name, bytes), or (name, name of the member that it links to)."""
    with tarfile.open(made.root / "blob/a.tar", "w", format=form) as tar:
        for member, data in members:
            info = tarfile.TarInfo(member)
            if isinstance(data, str):
                info.type, info.linkname = tarfile.LNKTYPE, data
                tar.addfile(info)
            else:
                info.size = len(data)
                tar.addfile(info, BytesIO(data))
    sums(made)


def offsets(made, on_conflict="error", keep=None):
    table = offsets_of_tar(made.root / "blob/a.tar", on_conflict=on_conflict)
    entries = [entry for entry in table.entries() if keep is None or entry[0].decode() in keep]
    write_offsets(made.root / "train/a_offsets.pkl", entries)
    shutil.rmtree(made.root / "train/ann")
    for entry, _, _ in entries:
        made.loose(f"train/ann/{os.fsdecode(entry)}.json", ANNOTATION)
    return entries


LONG = "n" * 246 + ".png"
RIGHT = {
    "hard link": ([("a.png", picture(1)), ("b.png", "a.png"), ("c.png", picture(2))], "error"),
    "renamed": ([("x/a.png", picture(1)), ("y/a.png", picture(2)), ("z/a.png", picture(3))], "rename"),
    "renamed, a number is taken": (
        [("x/a.png", picture(1)), ("y/a.png", picture(2)), ("a_1.png", picture(3)), ("z/a.png", picture(4))], "rename",
    ),
    "renamed without extension": ([("x/a", picture(1)), ("y/a", picture(2))], "rename"),
    "long": ([(LONG, picture(1)), ("m" * 99 + "/m" + LONG[1:], picture(2))], "error"),
    "not ASCII": ([("ünï.png", picture(1)), ("日本.png", picture(2))], "error"),
    "the same beginning": ([("n" * 100, picture(1)), ("n" * 101, picture(2)), ("n" * 102, picture(3))], "error"),
}  # fmt: skip


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["gnu", "pax"])
@pytest.mark.parametrize("case", RIGHT)
def test_right_names(made, case, form):
    members, way = RIGHT[case]
    tar_of(made, members, form)
    offsets(made, way)
    assert codes(made) <= {"tar-warning"}


def test_some_of_the_renamed(made):
    """Images that were removed leave holes in the numbers."""
    tar_of(made, [(f"{i}/a.png", picture(i)) for i in range(6)])
    offsets(made, "rename", keep={"a_1.png", "a_4.png"})
    assert codes(made) == {"member-unreferenced"}


@pytest.mark.parametrize(
    "wrong",
    [
        lambda e: [("a.png", e[1]), ("a_1.png", e[0]), ("a_2.png", e[2])],
        lambda e: [("a.png", e[0]), ("a_1.png", e[2]), ("a_2.png", e[1])],
        lambda e: [("a.png", e[0]), ("a_2.png", e[1])],
        lambda e: [("a_1.png", e[0])],
        lambda e: [("a_01.png", e[1])],
        lambda e: [("b.png", e[3]), ("b_1.png", e[3])],
    ],
)
def test_wrongly_renamed(made, wrong):
    tar_of(made, [("x/a.png", picture(1)), ("y/a.png", picture(2)), ("z/a.png", picture(3)), ("b.png", picture(4))])
    spans = [entry[1:] for entry in offsets(made, "rename")]
    write_offsets(made.root / "train/a_offsets.pkl", [(n.encode(), *span) for n, span in wrong(spans)])
    assert ("offset-name", "train/a_offsets.pkl") in found(made)


def test_a_name_that_is_another_members(made):
    tar_of(made, [("a.png", picture(1)), ("a_1.png", picture(2))])
    (first, start, end), _ = offsets(made)
    write_offsets(made.root / "train/a_offsets.pkl", [(first, start, end), (b"a_1.png", start, end)])
    assert ("offset-name", "train/a_offsets.pkl") in found(made)


# -- for the SDK ---------------------------------------------------------------------------------------------


def dataset(path, count=1, annotated=True):
    def do(made):
        stem = path.replace("/", "-")
        members = {name(i): picture(i) for i in range(count)}
        made.offsets(path, stem, made.tar(stem, members))
        for member in members if annotated else ():
            made.loose(f"{path}/ann/{member}.json", ANNOTATION)
        sums(made)

    return do


def double(made):
    made.loose("train/img/000003.png", picture(3))


def double_in_blobs(made):
    made.offsets("train", "c", made.tar("c", {name(3): picture(3)}))
    sums(made)


def one_annotation_of_two(first, second, annotation, loose=()):
    def do(made):
        members = {one: picture(i) for i, one in enumerate((first, second)) if one not in loose}
        made.offsets("train", "c", made.tar("c", members))
        for one in loose:
            made.loose(f"train/img/{one}", picture(5))
        made.loose(f"train/ann/{annotation}", ANNOTATION)
        sums(made)

    return do


def empty(made):
    for folder in ("img", "ann"):
        (made.root / f"none/{folder}").mkdir(parents=True)


def repeats(made):
    offsets_repeated(made, made.root / "train/a_offsets.pkl")


SDK = {
    **{n: (dataset(n), "sdk-name", n) for n in ("johann", "my_img", "x.meta", "seg", "tumblob", "mydatasets")},
    "nested name": (dataset("train/datasets/ann"), "sdk-name", "train/datasets/ann"),
    "below such a name": (dataset("johann/datasets/x"), "sdk-name", "johann/datasets/x"),
    "in img/ and a blob": (double, "sdk-double", "train"),
    "in two blobs": (double_in_blobs, "sdk-double", "train"),
    "one annotation of two": (one_annotation_of_two("x.png", "x.jpg", "x.json"), "sdk-double", "train"),
    "one of two, by a whole name": (one_annotation_of_two("b.png", "b.png.png", "b.png.json"), "sdk-double", "train"),
    "one of two, and no extension": (one_annotation_of_two("b", "b.png", "b.json"), "sdk-double", "train"),
    "one of two, a file": (
        one_annotation_of_two("b.png", "b.png.jpg", "b.png.json", ["b.png.jpg"]), "sdk-double", "train",
    ),
    "empty": (empty, "sdk-empty", "none"),
    "no annotation": (dataset("more", annotated=False), "image-without-annotation", "more"),
    "no meta.json": (lambda made: (made.root / "meta.json").unlink(), "meta-missing", "meta.json"),
    "repeats": (repeats, "offsets-repeated", "train/a_offsets.pkl"),
    "image in a folder": (dataset("more"), "sdk-folder", "more"),
    "NaN": (
        lambda made: made.loose("train/ann/000001.png.json", ANNOTATION[:-1] + b', "x": NaN}'), "json-number", "train",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SDK)
def test_what_the_sdk_drops(made, case):
    planter, code, path = SDK[case]
    planter(made)
    if code == "sdk-folder":
        made.loose("more/img/sub/x.png", picture(1))
        made.loose("more/ann/sub/x.png.json", ANNOTATION)
    assert found(made)[code, path].severity == "warning"
    assert found(made, audience="supervisely")[code, path].severity == "error"


def test_an_empty_parent_is_no_fault(made):
    for folder in ("img", "ann"):
        (made.root / f"parent/{folder}").mkdir(parents=True)
    dataset("parent/datasets/child")(made)
    assert found(made) == {}


def test_packed_annotations_are_for_blobdir_only(made):
    assert codes(made, audience="supervisely") == {"sdk-packed"}


def parent_of_no_images(made):
    dataset("parent/datasets/child")(made)


def second_project(made):
    made.loose("val/inner/meta.json", (made.root / "meta.json").read_bytes())
    dataset("val/inner/more")(made)


def no_extension(made):
    made.offsets("train", "c", made.tar("c", {"photo": picture(1)}))
    made.loose("train/ann/photo.json", ANNOTATION)
    sums(made)


def more_blobs(made):
    made.offsets("train", "c", made.tar("c", {"x.png": picture(1)}))
    made.loose("train/ann/x.png.json", ANNOTATION)
    sums(made)


def test_what_the_sdk_damages_when_it_comes_back_is_only_warned_of(made):
    more_blobs(made)
    assert found(made) == {}
    assert found(made, audience="supervisely")["sdk-download", "train"].severity == "warning"


PLACES = {
    "a parent without img": (parent_of_no_images, "parent/datasets/child"),
    "a project inside": (second_project, "val/inner"),
    "a name without extension": (no_extension, "train"),
    "another file of a blob's stem": (lambda made: made.loose("blob/a.txt", b"notes"), "blob"),
}


@pytest.mark.parametrize("case", PLACES)
def test_what_the_sdk_uploads_to_another_place_or_not(made, case):
    planter, path = PLACES[case]
    planter(made)
    assert "sdk-upload" not in codes(made)
    assert found(made, audience="supervisely")["sdk-upload", path].severity == "error"


@pytest.mark.parametrize("at_the_top", [False, True])
@pytest.mark.parametrize("path", ["train/inner", "plain/inner"])
def test_a_dataset_directly_in_another_folder(made, path, at_the_top):
    """The SDK calls it by its own folder's name only, and so knows one dataset of a name."""
    dataset(path)(made)
    if at_the_top:
        dataset("inner")(made)
    assert (("sdk-name", path) in found(made)) is at_the_top
    assert not at_the_top or "as it does another one" in str(found(made)["sdk-name", path].examples)
