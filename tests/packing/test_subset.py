"""Subsets: the right images, the same bytes, and no bytes twice."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from blob_builder import Builder

import blobdir
from blobdir.datasets import open_view
from blobdir.errors import BlobdirError, BusyError, NotFoundError, PackError, UsageError
from blobdir.offsets import read_offsets, write_offsets
from blobdir.packing import SubsetOptions, newfolder, subset
from blobdir.packing.newfolder import NewFolder
from blobdir.projectlock import ProjectLock
from blobdir.verifying import verify

COMMAND = str(Path(sys.executable).with_name("blobdir"))
JPEG = b"\xff\xd8\xff"


@pytest.fixture
def project(tmp_path):
    """Two datasets with one blob between them; image i has class c<i % 4>, and every third the tag t."""
    made = Builder(tmp_path / "p")
    classes = [{"title": f"c{i}", "shape": "rectangle", "color": "#000000"} for i in range(4)]
    tags = [{"name": "t", "value_type": "none", "color": "#000000"}]
    made.loose("meta.json", json.dumps({"classes": classes, "tags": tags, "projectType": "images"}).encode())
    names = [f"{i:03d}.jpg" for i in range(60)]
    entries = made.tar("shared", {name: JPEG + name.encode() * 50 for name in names})
    made.offsets("train", "shared", entries[:40])
    made.offsets("test", "shared", entries[40:])
    for i, name in enumerate(names):
        text = {
            "size": {"height": 1, "width": 1},
            "tags": [{"name": "t"}] if i % 3 == 0 else [],
            "objects": [{"classTitle": f"c{i % 4}"}],
        }
        made.loose(f"{'train' if i < 40 else 'test'}/ann/{name}.json", json.dumps(text).encode())
    made.loose("train/img/plain.png", b"\x89PNG\r\n\x1a\n plain")
    made.loose("train/ann/plain.png.json", b'{"size": {"height": 1, "width": 1}, "tags": [], "objects": []}')
    return made.root


def numbers(project):
    opened = blobdir.open_project(project)
    return {name: [n.partition(".")[0] for n in opened[name].names] for name in opened}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"train": [*range(40), "plain"], "test": range(40, 60)}),
        ({"datasets": ("test",)}, {"test": range(40, 60)}),
        ({"patterns": ("train/00*", "test/05?.jpg")}, {"train": range(10), "test": range(50, 60)}),
        ({"classes": ("c1",)}, {"train": range(1, 40, 4), "test": range(41, 60, 4)}),
        ({"classes": ("c1", "c2"), "datasets": ("test",)}, {"test": [i for i in range(40, 60) if i % 4 in (1, 2)]}),
        ({"tags": ("t",)}, {"train": range(0, 40, 3), "test": range(42, 60, 3)}),
        ({"tags": ("t",), "classes": ("c0",)}, {"train": range(0, 40, 12), "test": [48]}),
        ({"names": ["train/003.jpg", "test/img/050.jpg", "plain.png"]}, {"train": [3, "plain"], "test": [50]}),
    ],
)
def test_choices(project, tmp_path, options, expected):
    report = subset(project, tmp_path / "s", SubsetOptions(**options))
    wanted = {name: sorted(i if isinstance(i, str) else f"{i:03d}" for i in rows) for name, rows in expected.items()}
    assert numbers(tmp_path / "s") == wanted
    assert report.datasets == {name: len(rows) for name, rows in wanted.items()}
    ours, theirs = blobdir.open_project(tmp_path / "s"), blobdir.open_project(project)
    for dataset in ours:
        for name in ours[dataset].names:
            assert ours[dataset].get_blob_img_bytes(name) == theirs[dataset].get_blob_img_bytes(name)
            assert ours[dataset].annotation(name) == theirs[dataset].annotation(name)
    assert ours.meta == theirs.meta
    assert verify(tmp_path / "s").errors == 0


def test_samples(project, tmp_path):
    seen = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        subset(project, tmp_path / name, SubsetOptions(per_class=3, seed=seed))
        found = numbers(tmp_path / name)
        seen.append(found)
        chosen = [int(i) for rows in found.values() for i in rows]
        assert [sum(i % 4 == c for i in chosen) for c in range(4)] == [3] * 4
    assert seen[0] == seen[1] != seen[2]


@pytest.mark.parametrize("blobs", ["link", "symlink", "copy"])
def test_blobs_are_shared(project, tmp_path, blobs):
    subset(project, tmp_path / "s", SubsetOptions(datasets=("test",), blobs=blobs))
    ours, theirs = tmp_path / "s/blob/shared.tar", project / "blob/shared.tar"
    assert os.path.samefile(ours, theirs) == (blobs != "copy")
    assert ours.is_symlink() == (blobs == "symlink")
    opened = blobdir.open_project(tmp_path / "s", follow_links=blobs == "symlink")
    assert opened["test"].get_blob_img_bytes("045.jpg") == JPEG + b"045.jpg" * 50


def test_subset_of_a_subset(project, tmp_path):
    subset(project, tmp_path / "one", SubsetOptions(tags=("t",)))
    subset(tmp_path / "one", tmp_path / "two", SubsetOptions(classes=("c0",)))
    assert numbers(tmp_path / "two") == {"train": ["000", "012", "024", "036"], "test": ["048"]}


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"names": ["none.jpg"]}, NotFoundError, "none.jpg"),
        ({"datasets": ("none",)}, UsageError, "there are test, train"),
        ({"classes": ("none",)}, UsageError, "no image is chosen"),
    ],
)
def test_bad_choices(project, tmp_path, options, error, says):
    with pytest.raises(error, match=says):
        subset(project, tmp_path / "s", SubsetOptions(**options))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p"]
    (tmp_path / "s").mkdir()
    with pytest.raises(UsageError, match="is there already"):
        subset(project, tmp_path / "s")


def test_command(project, tmp_path):
    command = [COMMAND, "subset", project, tmp_path / "s", "--list", "-"]
    done = subprocess.run(command, input="train/001.jpg\n050.jpg\n", capture_output=True, text=True, check=True)
    assert "2 images (1 of test, 1 of train), 1 blob shared" in done.stdout
    assert numbers(tmp_path / "s") == {"test": ["050"], "train": ["001"]}


# -- what goes along -----------------------------------------------------------------------------------------------

LONG = "n" * 246 + ".png"
META = b'{ "classes": [],  "tags": [], "projectType": "images", "projectSettings": {"multiView": {"enabled": true}} }\n'
IMAGES = {
    "a-b": ["x.png", "y.png"],
    "a/datasets/b": ["x.png", "y.png"],
    "img": ["x.png", LONG],
    "ann/datasets/img": ["x.png", "\udcff.png", "sub/x.png", "sub.png"],
    "train": ["x.png", "x.bmp", "x", "plain.png"],
}
SIDES = {
    "a-b": ["meta/x.png.json", "meta/y.png.json", "seg/x.png.png", "masks_machine/x.png", "masks_human/y.png"],
    "a/datasets/b": ["img_info/x.png.json", "img_info/y.png.json", "masks_instances/x/lemon_1.png"],
    "img": [f"meta/{LONG}.json", f"ann/{LONG}.json", "masks_other/x.png.png"],
    "ann/datasets/img": ["ann/sub/x.png.json", "ann/\udcff.png.json", "meta/sub/x.png.json", "seg/x.png"],
    "train": ["ann/x.json", "ann/plain.png.json", "meta/x.json", "info.json"],
}


def content(path):
    return os.fsencode(f'{{"objects": [], "of": "{path}"}}')


@pytest.fixture(params=["files", "packed annotations"])
def odd(tmp_path, request):
    """Names that are easily mixed up, with all that can belong to an image."""
    made = Builder(tmp_path / "p")
    made.loose("meta.json", META)
    for number, (dataset, names) in enumerate(IMAGES.items()):
        loose = [name for name in names if name.startswith(("plain", "sub/"))]
        packed = [name for name in names if name not in loose]
        made.offsets(
            dataset, f"b{number}", made.tar(f"b{number}", {name: os.fsencode(f"{dataset}/{name}") for name in packed})
        )
        for name in loose:
            made.loose(f"{dataset}/img/{name}", os.fsencode(f"{dataset}/{name}"))
    for dataset, paths in SIDES.items():
        notes = {path[4:]: content(path) for path in paths if path.startswith("ann/")}
        if notes and request.param == "packed annotations":
            folder = f"{dataset}/ann.blob"
            entries = made.tar("n", notes, folder)
            made.offsets(folder, "n", [(os.fsencode(n), *e[1:]) for n, e in zip(notes, entries, strict=True)])
        for path in paths:
            if not path.startswith("ann/") or request.param == "files":
                made.loose(f"{dataset}/{path}", content(path))
    for parent in ("empty", "a"):
        for folder in ("img", "ann"):
            (made.root / parent / folder).mkdir(parents=True, exist_ok=True)
    for name in ("obj_class_to_machine_color.json", "key_id_map.json", "README.md"):
        made.loose(name, name.encode())
    return made.root


def seen(root):
    """Path -> bytes of all that readers see."""
    tree = open_view(root).tree
    found = {}
    for folder in tree.index.walk():
        for row in tree.children(folder):
            if not tree.is_directory(row):
                found[tree.path(row)] = tree.read(row)
    return found


def test_all_of_it(odd, tmp_path):
    subset(odd, tmp_path / "s")
    assert seen(tmp_path / "s") == {path: data for path, data in seen(odd).items() if path != "README.md"}
    assert open_view(tmp_path / "s").defects == []
    for folder in ("empty/img", "empty/ann", "a/img", "a/ann"):
        assert (tmp_path / "s" / folder).is_dir()
    assert (tmp_path / "s/meta.json").read_bytes() == META


# Image -> paths beside it that are its own, or that it shares.
BELONGS = {
    "a-b/img/x.png": ["a-b/masks_machine/x.png", "a-b/meta/x.png.json", "a-b/seg/x.png.png"],
    "a/datasets/b/img/x.png": ["a/datasets/b/img_info/x.png.json", "a/datasets/b/masks_instances/x/lemon_1.png"],
    f"img/img/{LONG}": [f"img/ann/{LONG}.json", f"img/meta/{LONG}.json"],
    "ann/datasets/img/img/sub/x.png": ["ann/datasets/img/ann/sub/x.png.json", "ann/datasets/img/meta/sub/x.png.json"],
    "ann/datasets/img/img/\udcff.png": ["ann/datasets/img/ann/\udcff.png.json"],
    "ann/datasets/img/img/sub.png": [],
    "train/img/x.bmp": ["train/ann/x.json", "train/info.json", "train/meta/x.json"],
    "train/img/x": ["train/ann/x.json", "train/info.json", "train/meta/x.json"],
    "train/img/plain.png": ["train/ann/plain.png.json", "train/info.json"],
}


@pytest.mark.parametrize("image", BELONGS)
def test_what_belongs_to_an_image(odd, tmp_path, image):
    subset(odd, tmp_path / "s", SubsetOptions(names=[image]))
    whole = seen(odd)
    root = ["key_id_map.json", "meta.json", "obj_class_to_machine_color.json"]
    assert seen(tmp_path / "s") == {path: whole[path] for path in [image, *BELONGS[image], *root]}
    above = image.split("/datasets/")[0] if "/datasets/" in image and image.startswith("a/") else ""
    assert not above or (tmp_path / "s" / above / "img").is_dir()  # else the SDK takes the dataset for one at the top


def test_two_subsets_share_blobs(odd, tmp_path):
    subset(odd, tmp_path / "one", SubsetOptions(datasets=("a-b", "img")))
    subset(odd, tmp_path / "two", SubsetOptions(datasets=("a-b", "train")))
    assert os.path.samefile(tmp_path / "one/blob/b0.tar", tmp_path / "two/blob/b0.tar")
    assert (tmp_path / "one/a-b/b0_offsets.pkl").read_bytes() == (tmp_path / "two/a-b/b0_offsets.pkl").read_bytes()
    assert not (tmp_path / "one/train").exists()


def test_checksums_of_the_blobs_go_along(project, tmp_path):
    digest = hashlib.sha256((project / "blob/shared.tar").read_bytes()).hexdigest()
    (project / "blob/SHA256SUMS").write_text(f"{digest}  shared.tar\n{'0' * 64}  other.tar\n")
    subset(project, tmp_path / "s")
    assert (tmp_path / "s/blob/SHA256SUMS").read_text() == f"{digest}  shared.tar\n"


# -- strict ----------------------------------------------------------------------------------------------------------


def _cut_pickle(root, outside):
    path = root / "test/shared_offsets.pkl"
    path.write_bytes(path.read_bytes()[:-3])


def _shifted(root, outside):
    entries = [
        (e.name, e.offset_start + 512, e.offset_end + 512) for e in read_offsets(root / "test/shared_offsets.pkl")
    ]
    write_offsets(root / "test/shared_offsets.pkl", entries)


def _blob_away(root, outside):
    Builder(root, meta=False).offsets("test", "away", [(b"away.jpg", 512, 515)])


def _blob_out(root, outside):
    made = Builder(outside, meta=False)
    Builder(root, meta=False).offsets("test", "out", made.tar("out", {"out.jpg": b"out"}))
    (root / "blob/out.tar").symlink_to(outside / "blob/out.tar")


def _blob_compressed(root, outside):
    Builder(root, meta=False).offsets("test", "zip", [(b"z.jpg", 512, 515)])
    (root / "blob/zip.tar").write_bytes(b"\x1f\x8b" + bytes(2000))


def _images_out(root, outside):
    outside.mkdir()
    (root / "test/img").symlink_to(outside)


def _image_out(root, outside):
    outside.write_bytes(b"out")
    (root / "test/img").mkdir()
    (root / "test/img/out.jpg").symlink_to(outside)


def _annotation_out(root, outside):
    outside.write_bytes(b"{}")
    (root / "test/ann/045.jpg.json").unlink()
    (root / "test/ann/045.jpg.json").symlink_to(outside)


def _masks_out(root, outside):
    outside.mkdir()
    (root / "test/masks_human").symlink_to(outside)


def _packed_annotations_away(root, outside):
    Builder(root, meta=False).offsets("test/ann.blob", "n", [(b"045.jpg.json", 512, 515)])
    (root / "test/ann/045.jpg.json").unlink()


DEFECTS = [_cut_pickle, _shifted, _blob_away, _blob_out, _blob_compressed, _images_out, _image_out, _annotation_out]
DEFECTS += [_masks_out, _packed_annotations_away]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.__name__.strip("_"))
def test_nothing_is_made_of_what_is_damaged(project, tmp_path, defect):
    subset(project, tmp_path / "before", SubsetOptions(datasets=("train",)))
    defect(project, tmp_path / "outside")
    there = sorted(os.listdir(tmp_path))
    for options in ({}, {"datasets": ("test",)}):
        with pytest.raises(BlobdirError) as caught:
            subset(project, tmp_path / "s", SubsetOptions(**options))
        assert caught.value.exit_code in (4, 6, 7)
        assert "test" in str(caught.value) or "blob/" in str(caught.value)
        assert sorted(os.listdir(tmp_path)) == there
    subset(project, tmp_path / "s", SubsetOptions(datasets=("train",)))  # nothing is wrong with that one
    assert numbers(tmp_path / "s") == numbers(tmp_path / "before")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("defect", [_blob_out, _image_out, _annotation_out, _masks_out])
def test_links_are_followed_where_that_is_asked_for(project, tmp_path, defect):
    defect(project, tmp_path / "outside")
    subset(project, tmp_path / "s", SubsetOptions(follow_links=True))
    assert not [path for path in (tmp_path / "s").rglob("*") if path.is_symlink()]
    assert open_view(tmp_path / "s").defects == []


@pytest.mark.filterwarnings("ignore")
def test_a_dataset_that_is_a_link_out(project, tmp_path):
    (project / "test").rename(tmp_path / "elsewhere")
    (project / "test").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PackError, match="test: is a symbolic link to a folder outside"):
        subset(project, tmp_path / "s")
    subset(project, tmp_path / "s", SubsetOptions(datasets=("train",)))
    subset(project, tmp_path / "all", SubsetOptions(follow_links=True))
    assert set(numbers(tmp_path / "all")) == {"train", "test"}


def test_while_somebody_changes_the_project(project, tmp_path):
    lock = ProjectLock(str(project))
    try:
        with pytest.raises(BusyError):
            subset(project, tmp_path / "s")
    finally:
        lock.release()
    assert sorted(os.listdir(tmp_path)) == ["p"]
    subset(project, tmp_path / "s")


def test_two_into_one_place(project, tmp_path):
    with NewFolder(tmp_path / "s", ".subset") as other:
        (other.work / "theirs").write_text("theirs")
        with pytest.raises(BusyError):
            subset(project, tmp_path / "s")
        assert (other.work / "theirs").exists()


def test_what_one_has_left_that_was_killed(project, tmp_path):
    with NewFolder(tmp_path / "s", ".subset") as killed:
        (killed.work / "train").mkdir()
        (killed.work / "train/half").write_text("half")
    subset(project, tmp_path / "s", SubsetOptions(datasets=("test",)))
    assert sorted(os.listdir(tmp_path / "s")) == ["blob", "meta.json", "test"]
    assert sorted(os.listdir(tmp_path)) == ["p", "s"]


@pytest.mark.parametrize("name", ["s.subset", ".s.part"])
def test_folders_of_others_stay(project, tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "mine").write_text("mine")
    with suppress(UsageError):
        subset(project, tmp_path / "s")
    assert (tmp_path / name / "mine").read_text() == "mine"


def test_not_into_the_project_itself(project):
    for place in ("s", "train/s", "blob/s"):
        with pytest.raises(UsageError, match="in the project"):
            subset(project, project / place)


def test_nothing_is_left_of_one_that_fails(project, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys.modules["blobdir.packing.subset"], "share_blob", full)
    with pytest.raises(OSError, match="No space"):
        subset(project, tmp_path / "s")
    assert sorted(os.listdir(tmp_path)) == ["p"]


def test_all_is_synced_before_it_appears(project, tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr("blobdir.packing.newfolder.sync_filesystem", lambda path: done.append(("sync", str(path))))
    rename = newfolder.rename_new
    monkeypatch.setattr(newfolder, "rename_new", lambda a, b: (done.append(("rename", str(b))), rename(a, b)))
    monkeypatch.setattr(newfolder, "sync_folder", lambda path: done.append(("sync folder", str(path))))
    subset(project, tmp_path / "s")
    work = [("sync", str(tmp_path / "s.subset")), ("rename", str(tmp_path / "s")), ("sync folder", str(tmp_path))]
    assert done[-3:] == work


# -- the command -----------------------------------------------------------------------------------------------------


def test_command_names_what_it_could_not_use(project, tmp_path):
    (project / "train/ann/001.jpg.json").write_bytes(b'{"objects": [{"classTitle"')
    (project / "train/ann/005.jpg.json").unlink()
    command = [COMMAND, "subset", project, tmp_path / "s", "--class", "c1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 7
    assert "blobdir: train/ann/001.jpg.json: isn't JSON: it is cut off; train/img/001.jpg isn't chosen" in done.stderr
    assert "1 annotation can't be used: their images aren't in the subset" in done.stderr
    assert "1 image without an annotation" in done.stdout
    assert "001" not in numbers(tmp_path / "s")["train"]
    done = subprocess.run([*command[:3], tmp_path / "t", *command[4:], "--strict"], capture_output=True, check=False)
    assert done.returncode == 6
    assert not (tmp_path / "t").exists()
    done = subprocess.run([*command[:3], tmp_path / "t", "--tag", "tt"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "near it: t" in done.stderr or "it has t" in done.stderr


@pytest.mark.filterwarnings("ignore")
def test_one_name_with_two_contents_costs_only_that_one(project, tmp_path):
    (project / "test/img").mkdir()
    (project / "test/img/045.jpg").write_bytes(b"another")
    subset(project, tmp_path / "s", SubsetOptions(patterns=("test/044.jpg",)))
    with pytest.raises(BlobdirError, match=r"045\.jpg"):
        subset(project, tmp_path / "t", SubsetOptions(patterns=("test/04?.jpg",)))
    assert sorted(os.listdir(tmp_path)) == ["p", "s"]


def test_doubles_that_agree_are_one(project, tmp_path):
    (project / "test/img").mkdir()
    (project / "test/img/045.jpg").write_bytes(JPEG + b"045.jpg" * 50)
    subset(project, tmp_path / "s", SubsetOptions(datasets=("test",)))
    assert numbers(tmp_path / "s") == {"test": [f"{i:03d}" for i in range(40, 60)]}
    assert verify(tmp_path / "s").errors == 0


@pytest.mark.parametrize(("again", "resumes"), [("--resume makes it again", True), ("try again", False)])
def test_what_next_is_something_that_the_command_has(tmp_path, again, resumes):
    """`pack` and `fetch` have ``--resume``; what has none begins anew."""
    folder = NewFolder(tmp_path / "made", ".making", resume=True, again=again)
    with pytest.raises(PackError) as caught, folder:
        raise OSError(24, "Too many open files", str(tmp_path / "made"))
    assert ("--resume goes on" in str(caught.value)) == resumes
    assert ("the same command makes it anew" in str(caught.value)) == (not resumes)
