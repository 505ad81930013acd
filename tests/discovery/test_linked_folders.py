"""Links to folders: what blobs show behind them, what is in their way, and what they lead to that isn't shown."""

import os
import time
import warnings

import pytest
from blob_builder import Builder
from project_factory import make_project

import blobdir
from blobdir.errors import BlobdirWarning, ConflictError, IncompleteListingError, LinkError
from blobdir.filenames import folders_of_format
from blobdir.opening import OpenOptions, choosing, open_tree, save_beside

MEMBERS = {"a.jpg": b"a", "b.jpg": b"bb", "sub/c.jpg": b"ccc"}


def opened(root, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BlobdirWarning)
        return blobdir.open_project(root, **{"index": "none"} | options)


def blob(builder, dataset, stem, members):
    """A blob whose entries keep the folders in their names."""
    entries = builder.tar(stem, members)
    builder.offsets(dataset, stem, [(n.encode(), *e[1:]) for n, e in zip(members, entries, strict=True)])


@pytest.fixture
def builder(tmp_path):
    """A project with a dataset whose images are all in blobs."""
    made = Builder(tmp_path / "p")
    blob(made, "val", "v", MEMBERS)
    return made


def contents(project, dataset):
    return {name: project[dataset].get_blob_img_bytes(name) for name in project[dataset].names}


@pytest.mark.parametrize("follow_links", [False, True])
@pytest.mark.parametrize("beside", [False, True], ids=["blobs only", "a folder as well"])
@pytest.mark.parametrize("own", [False, True], ids=["no images", "own images"])
@pytest.mark.parametrize(
    "way", [["../val/img"], ["../other/img", "../val/img"], ["../ds/img"], ["{root}/val/img"], ["../val/img/"]]
)
def test_members_of_blobs_are_seen_behind_it(builder, follow_links, beside, own, way):
    root, expected = builder.root, dict(MEMBERS)
    builder.loose("notes/ann/x.json", b"{}")
    if beside:
        builder.loose("val/img/plain.jpg", b"plain")
        expected["plain.jpg"] = b"plain"
    if own:
        blob(builder, "notes", "n", {"own.jpg": b"own"})
        expected["own.jpg"] = b"own"
    if len(way) == 2:
        blob(builder, "other", "o", {"between.jpg": b"between"})
        (root / "other/img").symlink_to(way[1])
        expected["between.jpg"] = b"between"
    (root / "ds").symlink_to("val")
    (root / "notes/img").symlink_to(way[0].format(root=root))
    project = opened(root, follow_links=follow_links)
    assert contents(project, "notes") == expected
    assert contents(project, "val") == {n: d for n, d in expected.items() if n not in ("own.jpg", "between.jpg")}
    assert project.defects == []
    assert project.filesystem.cat_file("notes/img/sub/c.jpg") == b"ccc"


@pytest.mark.parametrize("beside", [False, True], ids=["blobs only", "a folder as well"])
@pytest.mark.parametrize("target", ["../val", "{root}/val", "../all/val"])
def test_a_link_to_a_whole_dataset(builder, target, beside):
    """It's no dataset there, so its offsets files aren't found by that way."""
    root = builder.root
    builder.loose("notes/ann/x.json", b"{}")
    builder.loose("val/ann/a.jpg.json", b"{}")
    if beside:
        builder.loose("val/img/plain.jpg", b"plain")
    (root / "all").symlink_to(".")
    (root / "notes/img").symlink_to(target.format(root=root))
    project = opened(root)
    fs = project.filesystem
    assert project.defects == []
    there, here = ({path[len(top) :]: fs.cat_file(path) for path in fs.find(top)} for top in ("val", "notes/img"))
    assert there == here
    assert {"/img/a.jpg", "/img/sub/c.jpg", "/ann/a.jpg.json"} <= here.keys()
    assert not any(name.endswith(".pkl") for name in here)


def test_what_is_never_shown_isnt_by_a_link_either(builder):
    root = builder.root
    builder.loose("val/img/plain.jpg", b"plain")
    (root / "blob/v.tar").rename(root / "val/img/v.tar")
    (root / "blob").rmdir()
    (root / "blob").symlink_to("val/img")
    project = opened(root)
    assert contents(project, "val").keys() >= MEMBERS.keys()
    assert project.filesystem.ls("", detail=False) == ["meta.json", "val"]
    assert not project.filesystem.exists("blob")


def test_what_isnt_known_there_isnt_known_here(builder):
    builder.loose("notes/ann/x.json", b"{}")
    (builder.root / "val/w_offsets.pkl").write_bytes((builder.root / "val/v_offsets.pkl").read_bytes()[:-20])
    builder.tar("w", MEMBERS)
    builder.loose("val/img/plain.jpg", b"plain")
    (builder.root / "notes/img").symlink_to("../val/img")
    project = opened(builder.root)
    for folder in ("val/img", "notes/img"):
        with pytest.raises(IncompleteListingError, match="w_offsets"):
            project.filesystem.ls(folder)
    assert project.filesystem.cat_file("notes/img/plain.jpg") == b"plain"


IN_THE_WAY = {
    "link to a folder": lambda root, path: path.symlink_to(os.path.relpath(root / "aside", path.parent)),
    "link to a file": lambda root, path: path.symlink_to(os.path.relpath(root / "meta.json", path.parent)),
    "link to nothing": lambda _, path: path.symlink_to("nowhere"),
    "file": lambda _, path: path.write_bytes(b"file"),
}


@pytest.mark.parametrize("on_conflict", ["error", "skip", "rename", "replace"])
@pytest.mark.parametrize("what", IN_THE_WAY)
@pytest.mark.parametrize("place", ["val/img/sub", "val/img"])
def test_what_is_in_a_folders_way_is_said(builder, place, what, on_conflict):
    builder.loose("aside/x.jpg", b"x")
    path = builder.root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    IN_THE_WAY[what](builder.root, path)
    project = opened(builder.root, on_conflict=on_conflict)
    fs = project.filesystem
    if (place, what) == ("val/img", "link to a folder"):
        assert contents(project, "val") == MEMBERS | {"x.jpg": b"x"}
        return
    with pytest.raises(IncompleteListingError, match=place):
        fs.ls(place)
    assert fs.cat_file("val/img/sub/c.jpg") == b"ccc"
    with pytest.raises(IncompleteListingError):
        project["val"].names  # noqa: B018
    left = opened(builder.root, on_conflict=on_conflict, on_defect="ignore")
    assert contents(left, "val") == MEMBERS


@pytest.mark.parametrize(("data", "same"), [(b"a", True), (b"b", False), (b"another size", False), (None, False)])
def test_link_to_a_file_beside_a_member(builder, data, same):
    if data is not None:
        builder.loose("aside/x.jpg", data)
    path = builder.root / "val/img/a.jpg"
    path.parent.mkdir()
    path.symlink_to("../../aside/x.jpg")
    project = opened(builder.root)
    assert sorted(project["val"].names) == sorted(MEMBERS)
    if same:
        assert project.defects == []
        assert contents(project, "val") == MEMBERS
    else:
        with pytest.raises(ConflictError, match=r"symbolic link.*aside/x.jpg.*blob/v.tar"):
            project["val"].get_blob_img_bytes("a.jpg")


@pytest.mark.parametrize("target", ["..", ".", "../val", "../.blobdir/kept", "../notes/img", "img"])
def test_circles_and_state(builder, target):
    builder.loose(".blobdir/kept/x.jpg", b"x")
    builder.loose("notes/ann/x.json", b"{}")
    builder.loose("val/ann/a.jpg.json", b"{}")
    (builder.root / "notes/img").symlink_to("../val/img")
    (builder.root / "val/img").symlink_to(target)
    project = opened(builder.root)
    first = project.defects[0]
    assert (first.severity, first.code, first.path) == ("error", "folder-unreadable", "val/img")
    for folder in ("val/img", "notes/img"):
        with pytest.raises((IncompleteListingError, LinkError)):
            project.filesystem.ls(folder)


def test_links_elsewhere_stay_links(builder):
    root = builder.root
    builder.loose("notes/readme", b"")
    for link, target in (("img", "val"), ("notes/meta", "../val/ann"), ("val/all", "ann"), ("datasets", "val")):
        (root / link).symlink_to(target)
    tree = opened(root).tree
    for path in ("img", "notes/meta", "val/all", "datasets"):
        assert tree.attributes(tree.find(path, follow=False)).kind == "link"
    assert opened(root).defects == []


def test_folders_of_format():
    names = ["img", "ann", "ann.blob", "meta", "img_info", "seg", "masks_x", "blob", "other", "x_offsets.pkl"]
    assert folders_of_format("", names) == {"blob"}
    assert folders_of_format("a", names) == folders_of_format("a/b", names) == set(names) - {"blob", "other", names[-1]}
    assert folders_of_format("a", ["meta", "seg", "masks_x"]) == set()
    assert folders_of_format("a", ["meta", "x_offsets.pkl"]) == {"meta"}
    assert folders_of_format("blob/x", names) == folders_of_format(".blobdir/x", names) == set()


def retarget(root):
    (root / "train/img").unlink()
    (root / "train/img").symlink_to("../other")


CHANGES = {
    "added": lambda root: (root / "aside/new.jpg").write_bytes(b"new"),
    "removed": lambda root: (root / "aside/x.jpg").unlink(),
    "retargeted": retarget,
    "gone": lambda root: (root / "aside").rename(root / "away"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_kept_indexes_see_what_changes_behind_it(builder, monkeypatch, change):
    builds, real = [], choosing.build
    monkeypatch.setattr(choosing, "build", lambda *args: builds.append(1) or real(*args))
    root = builder.root
    blob(builder, "train", "t", MEMBERS)
    builder.loose("aside/x.jpg", b"x")
    builder.loose("other/y.jpg", b"y")
    (root / "train/img").symlink_to("../aside")
    time.sleep(0.05)
    tree = open_tree(root, options=OpenOptions(index="none"))
    save_beside(tree.index, tree.storage)
    builds.clear()
    tree = open_tree(root)
    assert not builds
    assert tree.names(tree.find("train/img")) == ["a.jpg", "b.jpg", "sub", "x.jpg"]
    CHANGES[change](root)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BlobdirWarning)
        tree = open_tree(root)
    assert builds
    assert tree.is_complete(tree.find("train/img")) == (change != "gone")


@pytest.mark.parametrize("folder", ["img", "meta", "masks_human", "seg"])
def test_a_folder_that_leads_to_a_whole_dataset(builder, folder):
    """What blobs show there lies behind the link, as what lies there as files does; nothing is a dataset by it."""
    builder.loose("notes/ann/x.json", b"{}")
    (builder.root / f"notes/{folder}").symlink_to("../val")
    project = opened(builder.root)
    assert sorted(project) == ["notes", "val"]
    files = project.filesystem.find(f"notes/{folder}")
    assert [path for path in files if "/img/" in path.removeprefix("notes/img")] == [
        f"notes/{folder}/img/{name}" for name in MEMBERS
    ]
    assert not project.defects


@pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")
@pytest.mark.parametrize("place", ["extra", "train/datasets/extra", "train/datasets"])
@pytest.mark.parametrize("there", [True, False], ids=["", "leads to nothing"])
def test_a_dataset_that_a_link_keeps_elsewhere_is_said(tmp_path, place, there):
    root = make_project(tmp_path / "p", {"train/img/a.jpg": b"a"})
    elsewhere = tmp_path / "elsewhere"
    inner = elsewhere / "extra" if place.endswith("datasets") else elsewhere
    if there:
        (inner / "img").mkdir(parents=True)
        (inner / "img/b.jpg").write_bytes(b"b")
    (root / place).parent.mkdir(exist_ok=True)
    (root / place).symlink_to(elsewhere)
    project = blobdir.open_project(root, index="none")
    assert [(d.code, d.path) for d in project.defects] == [("link-outside", place)]
    assert list(project) == ["train"]
    if there:
        assert len(list(blobdir.open_project(root, index="none", follow_links=True))) == 2


def test_other_links_out_of_a_project_are_no_datasets(tmp_path):
    root = make_project(tmp_path / "p", {"train/img/a.jpg": b"a"})
    (tmp_path / "notes.txt").write_text("notes")
    (root / "notes.txt").symlink_to(tmp_path / "notes.txt")
    (root / "train/notes").symlink_to(tmp_path)
    (tmp_path / "state").mkdir()
    (root / ".blobdir").symlink_to(tmp_path / "state")
    assert blobdir.open_project(root, index="none").defects == []
