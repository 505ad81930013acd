"""Sources that aren't as one would wish: what is packed, what is said, and that a dry run says the same."""

from __future__ import annotations

import io
import os
import random
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import blobdir
from blobdir.errors import NotAProjectError, UsageError
from blobdir.offsets import write_offsets
from blobdir.packing import PackOptions, pack
from blobdir.verifying import verify

COMMAND = str(Path(sys.executable).with_name("blobdir"))
META = b'{"classes": [], "tags": [], "projectType": "images", "projectSettings": {"multiView": {"enabled": true}}}'
ANNOTATION = b'{"description": "", "tags": [], "size": {"height": 6, "width": 8}, "objects": []}'
LONG = "n" * 251 + ".png"  # 255 bytes


def picture(seed):
    data = io.BytesIO()
    Image.frombytes("RGB", (8, 6), random.Random(seed).randbytes(144)).save(data, "PNG")
    return data.getvalue()


def put(path, data=b""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def fill(root, *paths):
    for i, path in enumerate(paths):
        put(root / path, picture(i))


def regular(root, *paths):
    """A project: dataset/name of each image."""
    put(root / "meta.json", META)
    for i, path in enumerate(paths):
        dataset, _, name = path.rpartition("/")
        put(root / dataset / "img" / name, picture(i))
        (root / dataset / "ann").mkdir(exist_ok=True)
        if len(name.encode()) <= 250:
            put(root / dataset / "ann" / f"{name}.json", ANNOTATION)


def link(path, target):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


# -- builders: each fills an empty folder, and a folder beside it ------------------------------------------------


def link_to_itself(root, _):
    fill(root, "train/a.png", "train/b.png")
    link(root / "l", ".")
    link(root / "train/l", ".")


def link_to_the_parent(root, outside):
    fill(root, "train/a.png")
    fill(outside, "secret.png")
    link(root / "loop", "..")
    link(root / "train/deeper/loop", "../..")


def link_to_a_sibling(root, _):
    fill(root, "train/a.png", "train/b.png")
    link(root / "copy", "train")


def links_to_one_another(root, _):
    for i in range(6):
        fill(root, f"d{i}/{i}.png")
        for j in range(6):
            link(root / f"d{i}/to{j}", f"../d{j}")


def links_out(root, outside):
    fill(root, "train/a.png")
    fill(outside, "b.png", "more/c.png")
    link(root / "train/b.png", outside / "b.png")
    link(root / "more", outside / "more")


def link_to_a_file_inside(root, _):
    fill(root, "train/a.png")
    put(root / ".git/annex/objects/x", picture(7))
    link(root / "train/b.png", "../.git/annex/objects/x")


def dangling_and_circular(root, _):
    fill(root, "train/a.png")
    link(root / "train/none.png", "nowhere.png")
    link(root / "train/round.png", "round.png")


def hidden(root, _):
    fill(root, "train/a.png", "train/._a.png", ".git/x.png", "__MACOSX/train/a.png", "train/@eaDir/a.png", ".x/y.png")
    for name in (".DS_Store", "Thumbs.db", "train/.DS_Store"):
        put(root / name, b"x")


def no_files(root, _):
    fill(root, "train/a.png")
    os.mkfifo(root / "train/pipe.png")
    with socket.socket(socket.AF_UNIX) as plug:
        here = os.getcwd()
        os.chdir(root / "train")
        plug.bind("socket.png")
        os.chdir(here)


def class_folders(root, _):
    fill(
        root, *(f"{part}/{kind}/{i}.png" for part in ("train", "val") for kind in ("cat", "dog", "cow") for i in (0, 1))
    )


def names_that_meet(root, _):
    fill(root, "t/a_b/0.png", "t/a/b_0.png", "t/a/b/0.png", "t/b/0.png", "t/b_0.png", "t/0.png", "t/a_b_0.png")


def long_names_that_meet(root, _):
    name = "x" * 246 + ".png"  # 250 bytes
    fill(root, f"t/a/{name}", f"t/b/{name}", f"t/c/{'ü' * 122}.png", f"t/d/{'ü' * 122}.png", f"t/{'y' * 247}.png")


def same_names_three_deep(root, _):
    fill(root, "t/a/x/0.png", "t/b/x/0.png", "t/b/y/0.png")


def a_folder_called_like_the_source(root, _):
    fill(root, "a.png", f"{root.name}/a.png")


def other_files(root, _):
    fill(root, "train/a.png")
    put(root / "train/notes.txt", b"notes")
    put(root / "train/empty.png")
    put(root / "train/text.png", b"text" * 20)


def numbers_and_cases(root, _):
    fill(root, "t/1.png", "t/01.png", "t/1.PNG", "T/1.png", "t/ä.png", "t/a\u0308.png", "t/ .png", "t/-rf.png")


def plain_sdk_names(root, _):
    fill(root, "johann/a.png", "train/b.png")


def project_with_all(root, _):
    regular(root, "train/a.png", "train/b.bmp", "train/datasets/hard/a.png", "a-b/x.png", "a/datasets/b/x.png")
    for path in ("train/meta/a.png.json", "train/img_info/a.png.json", "train/masks_human/x/a.png", "train/seg/a.png"):
        put(root / path, b"{}")
    for path in ("train/img/sub/deep/a.png", "train/img/notes.txt", "train/img/.b.png", "train/img/img/z.png"):
        put(root / path, picture(99))
    put(root / "train/ann/sub/deep/a.png.json", ANNOTATION)
    for path in ("README.md", "train/notes", ".gitattributes", "x.png", "train/y.png"):
        put(root / path, b"{}")
    for path in ("parent/img", "parent/ann", "parent/meta", "train/img/none", "train/seg2"):
        (root / path).mkdir(parents=True)
    put(root / "key_id_map.json", b"{}")


def project_of_long_names(root, _):
    regular(root, f"train/{LONG}", f"{'d' * 255}/a.png", f"{'d' * 254}e/a.png", f"train/{'ü' * 125}.png")


def project_of_empty_parents(root, _):
    regular(root, "parent/datasets/child/a.png", "parent/datasets/child/datasets/more/a.png")
    for path in ("parent/img", "parent/ann", "other/img", "other/ann"):
        (root / path).mkdir(parents=True)


def project_without_annotations(root, _):
    regular(root, "train/a.png", "train/b.png", "val/c.png", "val/d.png")
    shutil.rmtree(root / "train/ann")
    (root / "val/ann/d.png.json").unlink()


def project_with_junk(root, _):
    regular(root, "train/a.png")
    for path in (
        ".git/HEAD",
        "train/img/._a.png",
        "train/img/.DS_Store",
        "train/ann/._a.png.json",
        "__MACOSX/img/a.png",
    ):
        put(root / path, b"x")


def project_with_links(root, outside):
    regular(root, "train/a.png", "val/b.png")
    fill(outside, "c.png")
    link(root / "test", "train")
    link(root / "val/img/c.png", outside / "c.png")
    link(root / "val/img/d.png", "../../train/img/a.png")
    link(root / "val/ann/d.png.json", "../../train/ann/a.png.json")
    link(root / "val/self", "..")


def project_called_img(root, _):
    regular(root, "img/a.png", "ann/b.png", "datasets/c.png", "x/datasets/datasets/d.png")


# builder -> images found, images packed, codes of problems
KINDS = {
    link_to_itself: (2, 2, {"link-loop": 2}),
    link_to_the_parent: (1, 1, {"link": 1, "link-loop": 1}),
    link_to_a_sibling: (4, 4, {}),
    links_to_one_another: (36, 36, {"link": 120, "link-loop": 66}),
    links_out: (2, 1, {"link": 2}),
    link_to_a_file_inside: (2, 2, {"hidden": 1}),
    dangling_and_circular: (3, 1, {"unreadable": 2}),
    hidden: (1, 1, {"hidden": 1}),
    no_files: (3, 1, {"unreadable": 2}),
    class_folders: (12, 12, {"renamed": 2}),
    names_that_meet: (7, 7, {"renamed": 1}),
    long_names_that_meet: (5, 4, {"renamed": 1, "name": 1}),
    same_names_three_deep: (3, 3, {"renamed": 1}),
    a_folder_called_like_the_source: (2, 2, {"renamed": 1}),
    other_files: (3, 3, {"name": 1, "empty": 1, "not-an-image": 1, "no-size": 2}),
    numbers_and_cases: (8, 8, {}),
    plain_sdk_names: (2, 2, {"sdk-name": 1}),
    project_with_all: (5, 5, {"not-an-image-name": 2, "in-folder": 2}),
    project_of_long_names: (4, 4, {"no-annotation": 1}),
    project_of_empty_parents: (2, 2, {}),
    project_without_annotations: (4, 4, {"no-annotation": 2}),
    project_with_junk: (1, 1, {"hidden": 1}),
    project_with_links: (5, 4, {"link": 1, "link-loop": 1}),
    project_called_img: (4, 4, {"sdk-name": 4}),
}
KINDS = {builder.__name__: (builder, *expected) for builder, expected in KINDS.items()}
IS_PROJECT = [kind for kind in KINDS if kind.startswith("project")]


@pytest.fixture
def made(tmp_path):
    def make(kind):
        root, outside = tmp_path / "source", tmp_path / "outside"
        root.mkdir()
        outside.mkdir()
        KINDS[kind][0](root, outside)
        return root

    return make


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_packed_and_what_is_said(made, tmp_path, kind):
    root = made(kind)
    _, found, packed, codes = KINDS[kind]
    report = pack(root, tmp_path / "p")
    assert (report.found, report.images) == (found, packed)
    assert report.counts() == codes
    assert report.complete == (not any(problem.costs for problem in report.problems))
    project = blobdir.open_project(tmp_path / "p")
    assert sum(len(dataset.names) for dataset in project.values()) >= packed
    if not kind.startswith("project"):
        held = [dataset.get_blob_img_bytes(name) for dataset in project.values() for name in dataset.names]
        sources = {path.read_bytes() for path in root.rglob("*") if path.is_file()}
        assert len(held) == packed
        assert set(held) <= sources
        assert all((tmp_path / "p" / d.path / "ann" / f"{n}.json").is_file() for d in project.values() for n in d.names)
    # What is no image has an annotation of 0 × 0: `pack` says so, and `verify` doesn't let it pass.
    assert verify(tmp_path / "p").errors == (2 if kind == "other_files" else 0)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("annotations", ["loose", "packed"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_dry_run_says_what_the_run_says(made, tmp_path, kind, annotations):
    root = made(kind)
    options = PackOptions(annotations=annotations, shard_images=3)
    dry = pack(root, tmp_path / "p", options, dry_run=True)
    assert not list(tmp_path.glob("p*"))
    real = pack(root, tmp_path / "p", options)
    assert (dry.found, dry.images, dry.image_bytes, dry.files) == (
        real.found, real.images, real.image_bytes, real.files,
    )  # fmt: skip
    assert (dry.datasets, dry.problems) == (real.datasets, real.problems)
    assert [
        place.replace("*", digest[:8]) for place, digest in zip(dry.blobs, real.blobs.values(), strict=True)
    ] == list(real.blobs)


def files(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("annotations", ["loose", "packed"])
@pytest.mark.parametrize("kind", [k for k in IS_PROJECT if k not in ("project_with_links", "project_with_junk")])
def test_projects_come_back_byte_for_byte(made, tmp_path, kind, annotations):
    """Files of every kind in every place, and empty folders."""
    root = made(kind)
    pack(root, tmp_path / "p", PackOptions(annotations=annotations))
    subprocess.run([COMMAND, "unpack", "-q", tmp_path / "p", tmp_path / "again"], check=True, timeout=60)
    assert files(tmp_path / "again") == files(root)
    datasets = {path for path in root.rglob("*") if path.name in ("img", "ann") and path.is_dir()}
    assert {path for path in datasets if not (tmp_path / "again" / path.relative_to(root)).is_dir()} == set()


def test_side_folders_stay_even_empty_ones(made, tmp_path):
    pack(made("project_with_all"), tmp_path / "p")
    for path in ("parent/img", "parent/ann", "parent/meta", "train/img/none", "train/seg2", "train/masks_human/x"):
        assert (tmp_path / "p" / path).is_dir()
    assert (tmp_path / "p/meta.json").read_bytes() == META


def test_names_of_class_folders(made, tmp_path):
    report = pack(made("class_folders"), tmp_path / "p")
    project = blobdir.open_project(tmp_path / "p")
    kinds = [f"{kind}_{i}.png" for kind in ("cat", "cow", "dog") for i in (0, 1)]
    assert {name: project[name].names for name in project} == {"train": kinds, "val": kinds}
    assert project["train"].get_blob_img_bytes("dog_1.png") == (tmp_path / "source/train/dog/1.png").read_bytes()
    assert [tag["name"] for tag in project["train"].annotation("dog_1.png")["tags"]] == ["dog"]
    assert report.complete
    assert "train/cat/0.png is cat_0.png" in report.problems[0].message
    assert report.renamed == {
        f"{part}/{kind}_{i}.png": f"{part}/{kind}/{i}.png"
        for part in ("train", "val") for kind in ("cat", "cow", "dog") for i in (0, 1)
    }  # fmt: skip


def test_every_name_is_given_once(made, tmp_path):
    pack(made("names_that_meet"), tmp_path / "p")
    names = blobdir.open_project(tmp_path / "p")["t"].names
    assert len(set(names)) == 7
    assert {"a_b_0.png", "b_0.png"} <= set(names)


def test_a_list_of_images_of_one_name(tmp_path):
    fill(tmp_path, "x/cat/0.png", "x/dog/0.png", "y/dog/0.png")
    put(tmp_path / "list", b"x/cat/0.png\nx/dog/0.png\ny/dog/0.png\n")
    report = pack(tmp_path / "list", tmp_path / "p", PackOptions(dataset="d"))
    assert blobdir.open_project(tmp_path / "p")["d"].names == ["x_cat_0.png", "x_dog_0.png", "y_dog_0.png"]
    assert (report.found, report.images, report.complete) == (3, 3, True)
    assert report.renamed["d/y_dog_0.png"] == "y/dog/0.png"


@pytest.mark.parametrize("on_conflict", ["error", "skip", "replace"])
def test_who_wants_less_is_told_what_is_missing(made, tmp_path, on_conflict):
    report = pack(made("class_folders"), tmp_path / "p", PackOptions(on_conflict=on_conflict))
    assert (report.found, report.images, report.counts()) == (12, 4, {"conflict": 8})
    assert not report.complete


def test_links_out_are_followed_when_asked_for(made, tmp_path):
    root = made("links_out")
    done = subprocess.run([COMMAND, "pack", root, tmp_path / "p"], capture_output=True, text=True, check=False)
    assert done.returncode == 7
    assert "2 images found, 1 packed" in done.stdout
    assert done.stderr.count("--follow-links") == 2
    done = subprocess.run(
        [COMMAND, "pack", "--follow-links", root, tmp_path / "q"], capture_output=True, text=True, check=True
    )
    assert "3 images found, 3 packed" in done.stdout
    root.joinpath("up").symlink_to("..")  # and still it ends
    report = pack(root, tmp_path / "r", PackOptions(follow_links=True))
    assert "link-loop" in report.counts()


def test_a_file_that_becomes_a_link_out_is_not_read(made, tmp_path, monkeypatch):
    from blobdir.packing import packer

    root, real = made("links_out"), packer.list_source

    def listed(*arguments):
        found = real(*arguments)
        (root / "train/a.png").unlink()
        (root / "train/a.png").symlink_to(tmp_path / "outside/b.png")
        fill(root, "train/z.png")
        return found

    fill(root, "train/y.png")
    monkeypatch.setattr(packer, "list_source", listed)
    report = pack(root, tmp_path / "p")
    assert ("link", "train/a.png") in [(p.code, p.path) for p in report.problems]
    assert blobdir.open_project(tmp_path / "p")["train"].names == ["y.png"]


def test_hidden_files_are_said_in_one_line(made, tmp_path):
    report = pack(made("hidden"), tmp_path / "p")
    (problem,) = report.problems
    assert problem.message.startswith("8 hidden files and folders weren't looked at: ")
    assert report.complete


@pytest.mark.parametrize(
    ("part", "blobs"),
    [
        ("train", False), ("train/img", False), ("train/datasets/hard", False), ("train/datasets/hard/img", False),
        ("train", True), ("train/ann", True), ("train/datasets/hard", True),
    ],
)  # fmt: skip
def test_a_dataset_is_no_source(tmp_path, part, blobs):
    root = tmp_path / "lemons"
    regular(root, "train/a.png", "train/datasets/hard/b.png")
    if blobs:
        pack(root, tmp_path / "packed")
        root = tmp_path / "packed"
    with pytest.raises(NotAProjectError, match=f"is a part of the project {root}; give that one"):
        pack(root / part, tmp_path / "p")


def test_a_folder_with_a_project_somewhere_above(tmp_path):
    """Any folder may have a meta.json somewhere above it."""
    put(tmp_path / "meta.json", META)
    fill(tmp_path, "photos/summer/train/a.png")
    assert pack(tmp_path / "photos/summer", tmp_path / "p").images == 1


@pytest.mark.parametrize("data", [b"\0" * 600, picture(1), b"ustar\0", b"\x1f\x8b\x08\0"])
def test_what_is_no_list(tmp_path, data):
    put(tmp_path / "thing", data)
    with pytest.raises(UsageError, match="isn't text"):
        pack(tmp_path / "thing", tmp_path / "p")


def test_quiet_is_quiet(made, tmp_path):
    done = subprocess.run(
        [COMMAND, "pack", "-q", made("class_folders"), tmp_path / "p"], capture_output=True, check=True
    )
    assert done.stdout + done.stderr == b""


def test_names_on_a_terminal_have_no_control_characters(tmp_path):
    put(tmp_path / "s/train/a.png", picture(1))
    put(tmp_path / "s/train/\x1b[2Jx.txt", b"")
    done = subprocess.run(
        ["script", "-qec", f"{COMMAND} pack {tmp_path}/s {tmp_path}/p", "/dev/null"], capture_output=True, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert b"\\x1b[2Jx.txt" in done.stdout


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize(
    "name", ["../../out", "..", "a/../b", "blob", "blob/a", "meta.json", ".blobdir", "a//b", "/a", "x" * 256]
)
def test_what_cannot_be_a_dataset(tmp_path, name, listed):
    fill(tmp_path, "s/in/a.png")
    put(tmp_path / "s/list", b"in/a.png\n")
    (tmp_path / "deep/er").mkdir(parents=True)
    with pytest.raises(UsageError, match="can't be the name of a dataset"):
        pack(tmp_path / "s/list" if listed else tmp_path / "s/in", tmp_path / "deep/er/p", PackOptions(dataset=name))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["deep", "s"]
    assert not list((tmp_path / "deep/er").iterdir())


@pytest.mark.parametrize("listed", [False, True])
def test_a_nested_dataset_is_one_for_the_sdk(tmp_path, listed):
    fill(tmp_path, "s/in/a.png")
    put(tmp_path / "s/list", b"in/a.png\n")
    report = pack(tmp_path / "s/list" if listed else tmp_path / "s/in", tmp_path / "p", PackOptions(dataset="a/b"))
    assert report.datasets == {"a/datasets/b": 1}
    assert blobdir.open_project(tmp_path / "p")["a/b"].names == ["a.png"]


@pytest.mark.parametrize("content", [b"junk", b"", "of another tar"])
@pytest.mark.parametrize("place", ["train", "train/ann.blob", "train/datasets/hard"])
@pytest.mark.parametrize("dry_run", [False, True])
def test_offsets_that_were_left_in_a_regular_project(tmp_path, place, content, dry_run):
    """In the result they would lead into blobs that aren't theirs."""
    root = tmp_path / "regular"
    for dataset in ("train", "train/datasets/hard"):
        for name in ("a.png", "b.png"):
            for path, data in ((f"img/{name}", picture(name)), (f"ann/{name}.json", ANNOTATION)):
                (root / dataset / path).parent.mkdir(parents=True, exist_ok=True)
                (root / dataset / path).write_bytes(data)
    (root / "meta.json").write_bytes(META)
    (root / place).mkdir(parents=True, exist_ok=True)
    left = root / place / "old_offsets.pkl"
    if isinstance(content, bytes):
        left.write_bytes(content)
    else:
        write_offsets(left, [("a.png", 512, 900)])
    with pytest.raises(UsageError, match=r"old_offsets\.pkl"):
        pack(root, tmp_path / "made", PackOptions(), dry_run=dry_run)
    assert not (tmp_path / "made").exists()
