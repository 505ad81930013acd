"""Bad input: a clear error or a reported defect, with the rest of the project readable; never a wrong byte."""

import gzip
import os
import subprocess
import sys
import warnings

import pytest
from blob_builder import Builder

import blobdir
from blobdir.descriptors import Descriptors
from blobdir.errors import (
    BlobdirWarning,
    ConflictError,
    DataError,
    IncompleteListingError,
    LinkError,
    NotAProjectError,
    NotFoundError,
    OffsetsError,
    ReadError,
    ShortReadError,
    SourceChangedError,
)

GOOD = {f"good_{i}.jpg": b"good %d" % i * 100 for i in range(5)}


def open_quietly(root, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BlobdirWarning)
        return blobdir.open_project(root, index="none", **options)


def codes(project):
    return [defect.code for defect in project.defects]


@pytest.fixture
def builder(tmp_path):
    """A project with one sound dataset, `rest`."""
    made = Builder(tmp_path / "p")
    made.blob("rest", "sound", GOOD)
    return made


def assert_rest_is_readable(project):
    rest = project["rest"]
    assert rest.names == sorted(GOOD)
    assert {name: rest.get_blob_img_bytes(name) for name in rest} == GOOD
    assert rest.read_many(rest.names) == [GOOD[name] for name in rest.names]


def test_sound_project_has_no_defects(builder):
    project = open_quietly(builder.root)
    assert project.defects == []
    assert_rest_is_readable(project)


def test_missing_project(tmp_path):
    with pytest.raises(NotAProjectError, match="nowhere.*give the folder"):
        blobdir.open_project(tmp_path / "nowhere")


def test_a_file_is_no_project(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotAProjectError):
        blobdir.open_project(tmp_path / "file")


def test_folder_that_is_no_project(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(NotAProjectError, match=r"isn't a blob project: it holds no meta\.json"):
        blobdir.open_project(tmp_path)


def test_missing_meta(builder):
    (builder.root / "meta.json").unlink()
    project = open_quietly(builder.root)
    assert codes(project) == ["meta-missing"]
    assert_rest_is_readable(project)
    with pytest.raises(NotFoundError, match="meta.json"):
        _ = project.meta


def test_damaged_meta_and_annotation(builder):
    builder.loose("meta.json", b"{")
    builder.loose("rest/ann/good_1.jpg.json", b"[1, 2]")
    project = open_quietly(builder.root)
    with pytest.raises(DataError, match=r"meta\.json: isn't JSON"):
        _ = project.meta
    with pytest.raises(DataError, match=r"good_1\.jpg\.json: holds a list"):
        project["rest"].annotation("good_1.jpg")
    assert_rest_is_readable(project)


def test_pickle_without_its_blob(builder):
    builder.blob("train", "gone", {"a.jpg": b"a"})
    (builder.root / "blob/gone.tar").unlink()
    project = open_quietly(builder.root)
    assert codes(project) == ["blob-missing"]
    assert project["train"].names == ["a.jpg"]  # the list isn't shorter
    with pytest.raises(ReadError, match=r"blob/gone\.tar: is missing"):
        project["train"].get_blob_img_bytes("a.jpg")
    with pytest.raises(ReadError, match="missing"):
        project["train"].read_many(["a.jpg"])
    assert_rest_is_readable(project)


def test_blob_without_pickle(builder):
    builder.tar("lonely", {"a.jpg": b"a"})
    project = open_quietly(builder.root)
    assert codes(project) == ["blob-unreferenced"]
    assert "blobdir offsets" in project.defects[0].message
    assert_rest_is_readable(project)


def test_defects_are_warned_of(builder):
    builder.tar("lonely", {"a.jpg": b"a"})
    with pytest.warns(BlobdirWarning, match="lonely"):
        blobdir.open_project(builder.root, index="none")


@pytest.mark.parametrize("cut", [100, 600, 1024 + 50])
def test_truncated_tar(builder, cut):
    members = {f"{i}.jpg": bytes([i]) * 500 for i in range(4)}
    builder.blob("train", "short", members)
    path = builder.root / "blob/short.tar"
    os.truncate(path, 4 * 1024 - cut)
    project = open_quietly(builder.root)
    assert "offsets-past-end" in codes(project)
    train = project["train"]
    assert len(train) == 4
    readable = 0
    for name, data in members.items():
        try:
            assert train.get_blob_img_bytes(name) == data
            readable += 1
        except ShortReadError as error:
            assert "blob/short.tar" in str(error)
            assert "bytes" in str(error)
    assert readable == 4 - (2 if cut > 1024 else 1)
    with pytest.raises(ShortReadError, match=r"[23]\.jpg"):
        train.read_many(list(members))
    found = project.filesystem.cat([f"train/img/{name}" for name in members], on_error="return")
    assert [isinstance(value, ShortReadError) for value in found.values()].count(True) == 4 - readable
    assert_rest_is_readable(project)


def test_tar_truncated_after_opening(builder):
    members = {f"{i}.jpg": bytes([i]) * 500 for i in range(4)}
    builder.blob("train", "short", members)
    project = open_quietly(builder.root)
    train = project["train"]
    assert train.get_blob_img_bytes("3.jpg") == members["3.jpg"]
    os.truncate(builder.root / "blob/short.tar", 3 * 1024 + 512 + 10)
    with pytest.raises(ShortReadError, match="10 of 500 bytes"):
        train.get_blob_img_bytes("3.jpg")
    assert train.get_blob_img_bytes("2.jpg") == members["2.jpg"]
    with pytest.raises(ShortReadError, match=r"3\.jpg"):
        train.read_many(["0.jpg", "3.jpg", "1.jpg", "2.jpg"])


def test_blob_replaced_after_opening(builder):
    project = open_quietly(builder.root)
    builder.tar("sound", {name: data[::-1] for name, data in GOOD.items()})
    with pytest.raises(SourceChangedError, match=r"blob/sound\.tar.*open the project again"):
        project["rest"].get_blob_img_bytes("good_1.jpg")


def test_blob_replaced_while_it_is_open(builder):
    project = open_quietly(builder.root)
    rest = project["rest"]
    rest.get_blob_img_bytes("good_1.jpg")
    new = builder.root / "new.tar"
    new.write_bytes(b"x" * 10_000)
    os.replace(new, builder.root / "blob/sound.tar")
    assert_rest_is_readable(project)  # as it was when it was opened


def test_offsets_of_another_blob(builder):
    entries = builder.blob("train", "a", {"1.jpg": b"1" * 100, "2.jpg": b"2" * 5000})
    builder.tar("a", {"0.jpg": b"0" * 700, "1.jpg": b"1" * 100, "2.jpg": b"2" * 5000})
    project = open_quietly(builder.root)
    assert codes(project) == ["offsets-mismatch"]
    assert project["train"].names == ["1.jpg", "2.jpg"]
    with pytest.raises(ReadError, match=r"train/a_offsets\.pkl: doesn't fit blob/a\.tar"):
        project["train"].get_blob_img_bytes("1.jpg")
    assert_rest_is_readable(project)
    ignoring = open_quietly(builder.root, on_defect="ignore")
    start, end = entries[0][1:]
    assert ignoring["train"].get_blob_img_bytes("1.jpg") == (builder.root / "blob/a.tar").read_bytes()[start:end]


def test_gzip_named_tar(builder):
    builder.blob("train", "packed", {"a.jpg": b"a" * 2000})
    path = builder.root / "blob/packed.tar"
    path.write_bytes(gzip.compress(os.urandom(3000)))
    project = open_quietly(builder.root)
    assert "blob-compressed" in codes(project)
    with pytest.raises(ReadError, match="compressed"):
        project["train"].get_blob_img_bytes("a.jpg")
    assert_rest_is_readable(project)


@pytest.mark.parametrize("damage", ["cut", "garbage", "hostile", "text"])
def test_damaged_pickle(builder, damage):
    builder.blob("train", "b", {f"{i}.jpg": b"%d" % i for i in range(9)})
    path = builder.root / "train/b_offsets.pkl"
    data = path.read_bytes()
    path.write_bytes(
        {
            "cut": data[:-30],
            "garbage": data + b"\0garbage",
            "hostile": b"cos\nsystem\n(S'false'\ntR.",
            "text": b"hello",
        }[damage]
    )
    project = open_quietly(builder.root)
    assert codes(project)[0].startswith("offsets-")
    with pytest.raises(IncompleteListingError, match=r"train/b_offsets\.pkl.*on_defect=ignore"):
        _ = project["train"].names
    with pytest.raises(IncompleteListingError):
        project.filesystem.ls("train/img")
    with pytest.raises(IncompleteListingError):
        project.filesystem.find("")
    assert project.filesystem.ls("train", detail=False) == ["train/ann", "train/img"]
    assert_rest_is_readable(project)
    assert open_quietly(builder.root, on_defect="ignore")["train"].names == []
    with pytest.raises(OffsetsError):
        open_quietly(builder.root, on_defect="raise")


def test_damaged_pickle_beside_a_sound_one(builder):
    builder.blob("train", "a", {"a.jpg": b"a"})
    builder.blob("train", "b", {"b.jpg": b"b"})
    (builder.root / "train/b_offsets.pkl").write_bytes(b"\x80")
    train = open_quietly(builder.root)["train"]
    assert train.get_blob_img_bytes("a.jpg") == b"a"
    assert "a.jpg" in train
    with pytest.raises(IncompleteListingError):
        len(train)


def test_repeated_entries_collapse_with_a_warning(builder):
    builder.blob("train", "a", {"a.jpg": b"a", "b.jpg": b"b"})
    path = builder.root / "train/a_offsets.pkl"
    path.write_bytes(path.read_bytes() * 2)
    project = open_quietly(builder.root)
    assert codes(project) == ["offsets-repeated"]
    assert project["train"].names == ["a.jpg", "b.jpg"]


def test_unreadable_folder(builder):
    builder.loose("train/img/a.jpg", b"a")
    builder.loose("train/ann/a.jpg.json", b"{}")
    builder.root.parent.chmod(0o755)
    (builder.root / "train/img").chmod(0)
    code = f"""
import os, sys, warnings
import blobdir
open_project = blobdir.open_project
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
warnings.simplefilter("ignore")
project = open_project({str(builder.root)!r}, index="none")
assert [d.code for d in project.defects] == ["folder-unreadable"], project.defects
try:
    project["train"].names
except blobdir.errors.IncompleteListingError as error:
    assert "Permission denied" in str(error)
else:
    sys.exit("listed")
assert len(project["rest"].read_many(project["rest"].names)) == 5
assert project["train"].annotation("a.jpg") == {{}}
"""
    for parent in [builder.root, *builder.root.parents]:
        if parent.stat().st_uid == os.getuid() and "pytest-" in str(parent):
            parent.chmod(parent.stat().st_mode | 0o755)
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "XDG_CACHE_HOME": "/nonexistent"})


# -- one name, several contents --------------------------------------------------------------------------------


@pytest.fixture
def clash(builder):
    """`same.jpg` is thrice the same, `x.jpg` thrice different."""
    builder.blob("train", "a", {"same.jpg": b"same", "x.jpg": b"from a", "only_a.jpg": b"a"})
    builder.blob("train", "b", {"same.jpg": b"same", "x.jpg": b"from b"})
    builder.loose("train/img/same.jpg", b"same")
    builder.loose("train/img/x.jpg", b"plain!")
    return builder.root


def test_conflict_is_an_error_that_names_both(clash):
    project = open_quietly(clash)
    assert codes(project) == ["conflict"]
    train = project["train"]
    assert train.names == ["only_a.jpg", "same.jpg", "x.jpg"]
    assert train.get_blob_img_bytes("same.jpg") == b"same"
    with pytest.raises(ConflictError, match=r"the file train/img/x\.jpg.*blob/a\.tar \(bytes"):
        train.get_blob_img_bytes("x.jpg")
    assert [info["name"] for info in project.filesystem.ls("train/img")] == [f"train/img/{n}" for n in train.names]
    with pytest.raises(ConflictError):
        open_quietly(clash, on_defect="raise")
    assert_rest_is_readable(project)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("skip", {"x.jpg": b"plain!"}),
        ("replace", {"x.jpg": b"from b"}),
        ("rename", {"x.jpg": b"plain!", "x_1.jpg": b"from a", "x_2.jpg": b"from b"}),
    ],
)
def test_conflict_policies(clash, policy, expected):
    project = open_quietly(clash, on_conflict=policy)
    assert project.defects == []
    found = {name: project["train"].get_blob_img_bytes(name) for name in project["train"].names}
    assert found == {"same.jpg": b"same", "only_a.jpg": b"a", **expected}


def test_same_range_in_two_pickles_collapses(builder):
    entries = builder.blob("train", "a", {"a.jpg": b"a"})
    builder.offsets("test", "a", entries)
    project = open_quietly(builder.root)
    assert project["train"].get_blob_img_bytes("a.jpg") == project["test"].get_blob_img_bytes("a.jpg") == b"a"


def test_member_named_like_a_folder(builder):
    entries = builder.blob("train", "a", {"sub": b"file", "sub/a.jpg": b"image"})
    builder.offsets("train", "a", [entries[0], (b"sub/a.jpg", *entries[1][1:])])
    project = open_quietly(builder.root)
    assert codes(project) == ["conflict"]
    assert project["train"].get_blob_img_bytes("sub/a.jpg") == b"image"


# -- names -----------------------------------------------------------------------------------------------------


def test_names_with_folders_and_other_bytes(builder):
    names = [b"sub/deep/a.jpg", b"\xff\xfe.jpg", "ü ñ%20#?.jpg".encode()]
    entries = builder.tar("a", dict(zip(map(os.fsdecode, names), (b"one", b"two", b"three"), strict=True)))
    builder.offsets("train", "a", [(name, *entry[1:]) for name, entry in zip(names, entries, strict=True)])
    builder.loose("train/img/sub/plain.jpg", b"plain")
    project = open_quietly(builder.root)
    train = project["train"]
    assert sorted(train.names) == sorted(["sub/deep/a.jpg", "sub/plain.jpg", "\udcff\udcfe.jpg", "ü ñ%20#?.jpg"])
    assert [train.get_blob_img_bytes(name) for name in ("sub/deep/a.jpg", "\udcff\udcfe.jpg", "ü ñ%20#?.jpg")] == [
        b"one",
        b"two",
        b"three",
    ]
    assert all(name in train for name in train)
    assert project.filesystem.cat_file("train/img/\udcff\udcfe.jpg") == b"two"


def test_folders_that_only_names_make(builder):
    names = [b"x/y/z/deep.jpg", b"x/top.jpg"]
    entries = builder.tar("a", {names[0].decode(): b"one", names[1].decode(): b"two"})
    builder.offsets("new/datasets/inner", "a", [(n, *e[1:]) for n, e in zip(names, entries, strict=True)])
    project = open_quietly(builder.root)
    assert project.filesystem.find("new") == [f"new/datasets/inner/img/{n.decode()}" for n in (names[1], names[0])]
    assert project["new/inner"].names == ["x/top.jpg", "x/y/z/deep.jpg"]
    assert project["new/inner"].read_many(project["new/inner"].names) == [b"two", b"one"]


def test_loose_name_that_is_not_utf8(builder):
    with open(os.fsencode(builder.root / "rest/img_info") + b"\xff", "wb") as file:
        file.write(b"x")
    project = open_quietly(builder.root)
    assert project.filesystem.cat_file("rest/img_info\udcff") == b"x"


# -- links -----------------------------------------------------------------------------------------------------


def test_links_inside_are_followed_and_outside_are_not(builder, tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_bytes(b"secret")
    builder.loose("rest/ann/real.json", b"{}")
    (builder.root / "rest/ann/link.json").symlink_to("real.json")
    (builder.root / "rest/ann/up.json").symlink_to("../../meta.json")
    (builder.root / "rest/ann/out.json").symlink_to(secret / "key")
    (builder.root / "outside").symlink_to(secret)
    (builder.root / "rest/ann/loop.json").symlink_to("loop.json")
    (builder.root / "rest/ann/image").symlink_to(builder.root / "rest/img/good_1.jpg")
    project = open_quietly(builder.root)
    fs = project.filesystem
    assert fs.cat_file("rest/ann/link.json") == b"{}"
    assert fs.cat_file("rest/ann/up.json") == fs.cat_file("meta.json")
    assert fs.cat_file("rest/ann/image") == GOOD["good_1.jpg"]
    for path in ("rest/ann/out.json", "outside/key"):
        with pytest.raises(LinkError, match="outside the project"):
            fs.cat_file(path)
    with pytest.raises(LinkError, match="circles"):
        fs.cat_file("rest/ann/loop.json")
    info = {i["name"]: i for i in fs.ls("rest/ann")}
    assert info["rest/ann/link.json"]["type"] == "file"
    assert info["rest/ann/link.json"]["destination"] == "real.json"
    assert info["rest/ann/out.json"]["type"] == "link"
    followed = open_quietly(builder.root, follow_links=True).filesystem
    assert followed.cat_file("outside/key") == followed.cat_file("rest/ann/out.json") == b"secret"


def test_blob_that_is_a_link_to_outside(builder, tmp_path):
    builder.blob("train", "a", {"a.jpg": b"a" * 100})
    inside = builder.root / "blob/a.tar"
    os.replace(inside, tmp_path / "elsewhere.tar")
    inside.symlink_to(tmp_path / "elsewhere.tar")
    project = open_quietly(builder.root)
    assert codes(project) == ["blob-outside"]
    with pytest.raises(ReadError, match="follow_links"):
        project["train"].get_blob_img_bytes("a.jpg")
    assert open_quietly(builder.root, follow_links=True)["train"].get_blob_img_bytes("a.jpg") == b"a" * 100


def test_loose_file_that_becomes_a_link_is_not_followed(builder, tmp_path):
    path = builder.loose("rest/ann/a.json", b"{}")
    project = open_quietly(builder.root)
    path.unlink()
    path.symlink_to("/etc/hostname")
    with pytest.raises(LinkError, match="symbolic link now"):
        project.filesystem.cat_file("rest/ann/a.json")


def test_link_to_a_parent_ends(builder):
    (builder.root / "rest/self").symlink_to("..")
    project = open_quietly(builder.root, follow_links=True)
    assert "rest/self/rest/img" not in project.filesystem.find("", withdirs=True)
    assert_rest_is_readable(open_quietly(builder.root))


def test_pipe_is_reported_and_not_opened(builder):
    os.mkfifo(builder.root / "rest/fifo")
    project = open_quietly(builder.root)
    assert codes(project) == ["not-a-file"]
    assert not project.filesystem.exists("rest/fifo")


# -- other shapes ----------------------------------------------------------------------------------------------


def test_uppercase_tar_and_both(builder):
    entries = builder.blob("train", "a", {"a.jpg": b"aaa"})
    os.rename(builder.root / "blob/a.tar", builder.root / "blob/a.TAR")
    project = open_quietly(builder.root)
    assert project.defects == []
    assert project["train"].get_blob_img_bytes("a.jpg") == b"aaa"
    builder.tar("a", {"a.jpg": b"bbb"})
    project = open_quietly(builder.root)
    assert codes(project) == ["blob-twice"]
    assert project["train"].get_blob_img_bytes("a.jpg") == b"bbb"
    assert entries


def test_packed_annotations(builder):
    entries = builder.tar("part0", {"a.jpg.json": b'{"tags": []}', "b.jpg.json": b"{}"}, folder="train/ann.blob")
    builder.offsets("train/ann.blob", "part0", entries)
    builder.loose("train/ann/c.jpg.json", b'{"loose": 1}')
    for name in "abc":
        builder.loose(f"train/img/{name}.jpg", b"")
    project = open_quietly(builder.root)
    assert project.defects == []
    fs = project.filesystem
    assert fs.ls("train", detail=False) == ["train/ann", "train/img"]
    assert fs.ls("train/ann", detail=False) == [f"train/ann/{name}.jpg.json" for name in "abc"]
    train = project["train"]
    assert [train.annotation(f"{name}.jpg") for name in "abc"] == [{"tags": []}, {}, {"loose": 1}]
    assert list(project) == ["rest", "train"]


def test_show_blobs(builder):
    assert not open_quietly(builder.root).filesystem.exists("blob")
    fs = open_quietly(builder.root, show_blobs=True).filesystem
    assert fs.ls("blob", detail=False) == ["blob/sound.tar"]
    assert fs.cat_file("blob/sound.tar") == (builder.root / "blob/sound.tar").read_bytes()
    assert fs.isfile("rest/sound_offsets.pkl")


def test_more_blobs_than_may_be_open(tmp_path, monkeypatch):
    monkeypatch.setattr(Descriptors, "room", staticmethod(lambda: 64))
    made = Builder(tmp_path / "p")
    for i in range(600):
        entries = made.tar(f"b{i:04d}", {f"{i}.jpg": b"%d" % i})
        made.offsets("train", f"b{i:04d}", entries)
    before = len(os.listdir("/proc/self/fd"))
    train = open_quietly(made.root)["train"]
    for _ in range(2):
        assert [train.get_blob_img_bytes(f"{i}.jpg") for i in range(600)] == [b"%d" % i for i in range(600)]
    assert len(os.listdir("/proc/self/fd")) < before + 200


def test_loose_files_are_live(builder):
    path = builder.loose("rest/ann/live.json", b"old")
    fs = open_quietly(builder.root).filesystem
    assert fs.cat_file("rest/ann/live.json") == b"old"
    path.write_bytes(b"newer")
    assert fs.cat_file("rest/ann/live.json") == b"newer"
    assert fs.size("rest/ann/live.json") == fs.info("rest/ann/live.json")["size"] == 5
    path.unlink()
    with pytest.raises(NotFoundError, match="was removed after"):
        fs.cat_file("rest/ann/live.json")
    with pytest.raises(FileNotFoundError):
        fs.info("rest/ann/live.json")


def test_any_absolute_path(tmp_path):
    made = Builder(tmp_path / "datasets" / "img" / "p r ö [1]*")
    made.blob("a/datasets/b", "x.y", {"a.jpg": b"a"})
    project = open_quietly(made.root)
    assert list(project) == ["a/b"]
    assert project["a/b"].get_blob_img_bytes("a.jpg") == project["a/datasets/b"].get_blob_img_bytes("a.jpg") == b"a"
    with pytest.raises(KeyError, match="there are: a/b"):
        project["a"]


def test_an_emptied_blob_is_not_to_get_its_offsets_back(tmp_path):
    """What was removed was meant to go."""
    from blobdir.packing import remove

    made = Builder(tmp_path / "p")
    made.blob("train", "a", {"1.jpg": b"\xff\xd8\xff1"})
    made.blob("val", "b", {"2.jpg": b"\xff\xd8\xff2"})
    made.tar("c", {"3.jpg": b"\xff\xd8\xff3"})
    remove(made.root, ["val/2.jpg"])
    with pytest.warns(BlobdirWarning):
        found = {defect.path: defect.message for defect in blobdir.open_project(made.root, index="none").defects}
    assert "`blobdir compact` deletes it" in found["blob/b.tar"]
    assert "offsets blob" not in found["blob/b.tar"]
    assert "`blobdir offsets blob/c.tar" in found["blob/c.tar"]
