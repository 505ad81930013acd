"""Kept indexes are true, or not used."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time

import pytest
from blob_builder import write_tar
from project_factory import make_project

from blobdir import open_project
from blobdir.cli.app import run
from blobdir.discovery import DiscoveryOptions, inputs
from blobdir.errors import BlobdirWarning, UsageError
from blobdir.index import load_index, save_index
from blobdir.index.table import COLUMNS
from blobdir.offsets import write_offsets
from blobdir.opening import BESIDE, OpenOptions, choosing, keeping, open_tree, renewed

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")

FILES = {f"train/img/{i}.jpg": b"%d" % i * 100 for i in range(30)} | {
    f"train/ann/{i}.jpg.json": b"{}" for i in range(30)
}
LONG_AGO = time.time() - 5000.5


@pytest.fixture
def root(tmp_path):
    made = make_project(tmp_path / "p", FILES, loose=["train/img/3.jpg", "train/img/4.jpg"])
    for path in [*made.rglob("*"), made]:
        os.utime(path, (LONG_AGO, LONG_AGO))
    time.sleep(0.03)
    return made


PLACES = {"named": lambda root: str(root.parent / "ix"), "beside": lambda root: str(root / BESIDE)}


def opened(root, place):
    return open_tree(root, options=OpenOptions(index=place))


def in_blob(root):
    (blob,) = (root / "blob").iterdir()
    return blob


def same_size_and_time(path, change):
    before = path.stat()
    change(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def written_over(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def replaced(path):
    beside = path.with_name("new")
    beside.write_bytes(path.read_bytes())
    written_over(beside)
    beside.replace(path)


def folder_replaced(root):
    there = root / "train/ann"
    before = there.stat()
    there.rename(root / "train/old")
    there.mkdir()
    os.utime(there, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES = {
    "blob written over": lambda root: same_size_and_time(in_blob(root), written_over),
    "blob replaced": lambda root: same_size_and_time(in_blob(root), replaced),
    "pickle written over": lambda root: same_size_and_time(next(root.glob("train/*.pkl")), written_over),
    "pickle replaced": lambda root: same_size_and_time(next(root.glob("train/*.pkl")), replaced),
    "folder replaced": folder_replaced,
    "name added": lambda root: (root / "train/ann/new.json").write_bytes(b"{}"),
    "name added in a new folder": lambda root: make_project(root, {"val/img/a.jpg": b"a"}),
    "link": lambda root: (root / "notes").symlink_to("meta.json"),
    "journal": lambda root: (
        (root / ".blobdir").mkdir(exist_ok=True),
        (root / ".blobdir/journal.json").write_text("{}"),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("place", PLACES)
def test_what_was_changed_is_seen(root, builds, place, change):
    where = PLACES[place](root)
    opened(root, where)
    opened(root, where)
    assert len(builds) == 1
    CHANGES[change](root)
    opened(root, where)
    assert len(builds) == 2


@pytest.mark.parametrize("place", PLACES)
def test_owners_and_modes_are_those_of_now(root, builds, place):
    where = PLACES[place](root)
    row = opened(root, where).find("train/img/0.jpg")
    in_blob(root).chmod(0o400)
    if os.geteuid() == 0:
        os.chown(in_blob(root), 1234, 1234)
    found = opened(root, where).attributes(row)
    assert found.mode == 0o400
    assert os.geteuid() or found.uid == 1234


def test_what_decided_a_conflict(tmp_path, builds):
    """A double with the same bytes is one file; with others, it's a conflict."""
    root = make_project(tmp_path / "p", {"train/img/a.jpg": b"same"})
    (root / "train/img").mkdir()
    double = root / "train/img/a.jpg"
    double.write_bytes(b"same")
    where = str(tmp_path / "ix")
    tree = opened(root, where)
    assert tree.read(tree.find("train/img/a.jpg")) == b"same"
    same_size_and_time(double, lambda path: path.write_bytes(b"else"))
    tree = opened(root, where)
    assert [defect.code for defect in tree.defects] == ["conflict"]
    assert len(builds) == 2


@pytest.mark.parametrize("tool", ["cp -a", "rsync -a", "mv", "cp -a and chmod"])
def test_an_index_beside_survives_copying(root, tmp_path, builds, tool):
    assert run(["index", "-q", "--beside", str(root)]) == 0
    builds.clear()
    copy = tmp_path / "copy"
    command = {"rsync -a": ["rsync", "-a", f"{root}/", str(copy)], "mv": ["mv", str(root), str(copy)]}
    subprocess.run(command.get(tool, ["cp", "-a", str(root), str(copy)]), check=True)
    if tool.endswith("chmod"):
        in_blob(copy).chmod(0o440)
    names = open_project(copy)["train"].names
    assert len(names) == 30
    assert builds == []
    row = open_project(copy).tree.find("train/img/0.jpg")
    assert open_project(copy).tree.attributes(row).mode == (0o440 if tool.endswith("chmod") else 0o444)
    (copy / "train/ann/new.json").write_bytes(b"{}")
    assert open_project(copy).filesystem.exists("train/ann/new.json")


TOOLS = {
    "cp -a": lambda root, copy: subprocess.run(["cp", "-a", root, copy], check=True),
    "rsync -a": lambda root, copy: subprocess.run(["rsync", "-a", f"{root}/", copy], check=True),
    "mv": os.rename,
}


def name_swapped(path):
    path.write_bytes(path.read_bytes().replace(b"0.jpg", b"X.jpg"))


def first_header_changed(path):
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)


def other_header_changed(path):
    """Of a member somewhere in the middle."""
    data = bytearray(path.read_bytes())
    data[data.index(b"14.jpg")] ^= 1
    path.write_bytes(data)


def with_a_file_more(path):
    (path / "more.json").write_bytes(b"{}")


def double_changed(path):
    path.write_bytes(b"else" * 25)


def double_in_blob_changed(path):
    path.write_bytes(path.read_bytes().replace(b"2020", b"else"))


UNSEEN_BY_TIMES = {
    "pickle": (lambda root: next(root.glob("train/*.pkl")), name_swapped),
    "folder": (lambda root: root / "train/ann", with_a_file_more),
    "beginning of the blob": (in_blob, first_header_changed),
    "end of the blob": (in_blob, written_over),
    "header in the blob": (in_blob, other_header_changed),
    "double": (lambda root: root / "train/img/20.jpg", double_changed),
    "double in the blob": (in_blob, double_in_blob_changed),
}


@pytest.mark.parametrize("opened_before", [False, True], ids=["first opening", "second opening"])
@pytest.mark.parametrize("what", UNSEEN_BY_TIMES)
@pytest.mark.parametrize("tool", TOOLS)
def test_changes_of_a_copy_that_times_dont_tell(root, tmp_path, builds, tool, what, opened_before):
    (root / "train/img/20.jpg").write_bytes(b"20" * 50)
    (root / "train/img/20.jpg").write_bytes(FILES["train/img/20.jpg"])  # with the same bytes in the blob
    time.sleep(0.05)
    assert run(["index", "-q", "--beside", str(root)]) == 0
    copy = tmp_path / "copy"
    TOOLS[tool](root, copy)
    time.sleep(0.05)
    if opened_before:
        builds.clear()
        assert len(open_project(copy)["train"].names) == 30
        assert builds == []
    place, change = UNSEEN_BY_TIMES[what]
    before = place(copy).stat()
    change(place(copy))
    os.utime(place(copy), ns=(before.st_atime_ns, before.st_mtime_ns))
    found, expected = (open_project(copy, index=index) for index in ("auto", "none"))
    assert found.filesystem.find("") == expected.filesystem.find("")
    assert [d.message for d in found.defects] == [d.message for d in expected.defects]
    assert builds


@pytest.mark.parametrize("tool", TOOLS)
def test_contents_of_a_copy_are_compared_once(root, tmp_path, builds, tool, monkeypatch):
    assert run(["index", "-q", "--beside", str(root)]) == 0
    copy = tmp_path / "copy"
    TOOLS[tool](root, copy)
    time.sleep(0.05)
    builds.clear()
    tree = open_tree(copy)
    compared = []
    for name in ("_content_of", "_probed"):
        real = getattr(inputs, name)
        monkeypatch.setattr(inputs, name, lambda then, *a, real=real, **k: compared.append(then) or real(then, *a, **k))
    again = open_tree(copy)
    assert builds == []
    assert [then for then in compared if getattr(then, "path", "x")] == []  # but for the project's own folder
    assert renewed(again.index.header, again.storage, DiscoveryOptions())
    assert again.names(again.find("train/img")) == tree.names(tree.find("train/img"))
    same_size_and_time(in_blob(copy), lambda path: path.write_bytes(path.read_bytes()))
    open_tree(copy)
    assert len(builds) == 1


def test_a_copy_that_is_opened_at_once_keeps_its_index(root, tmp_path, builds, monkeypatch):
    """Its blobs are too new for another index to be believed, so none is kept in place of the one that came with it."""
    assert run(["index", "-q", "--beside", str(root)]) == 0
    builds.clear()
    TOOLS["cp -a"](root, tmp_path / "copy")
    monkeypatch.setattr(inputs, "TICK_NS", 60 * 10**9)
    for _ in range(3):
        open_project(tmp_path / "copy")
        assert builds == []


def test_a_copy_whose_index_has_no_digests_is_listed(root, tmp_path, builds):
    """As older versions have left it."""
    tree = opened(root, "none")
    save_index(tree.index, root / BESIDE)
    subprocess.run(["cp", "-a", root, tmp_path / "copy"], check=True)
    builds.clear()
    assert len(open_project(tmp_path / "copy")["train"].names) == 30
    assert len(builds) == 1


@pytest.mark.parametrize(
    "digest", ["", ":", "0", "0:", "-1:x", "x:y", "0,,0:x", ",".join("1" * 70) + ":x", "9" * 30 + ":x"]
)
def test_any_digest_of_a_blob(root, tmp_path, builds, digest):
    assert run(["index", "-q", "--beside", str(root)]) == 0
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-a", root, copy], check=True)
    header = copy / BESIDE / "header.json"
    body = json.loads(header.read_bytes().rpartition(b"\n")[0].rpartition(b"\n")[0])
    assert body["header"]["blobs"][0]["digest"].startswith("0,")
    body["header"]["blobs"][0]["digest"] = digest
    rewritten = json.dumps(body, indent=1, sort_keys=True).encode()
    header.write_bytes(rewritten + b"\n" + inputs.digest_of(rewritten).encode() + b"\n")
    builds.clear()
    assert len(open_project(copy)["train"].names) == 30
    assert len(builds) == 1


@pytest.mark.parametrize("place", ["named", "cache"])
def test_another_project_in_the_same_place(root, builds, place, tmp_path, monkeypatch):
    """Of the same sizes and times, as ``rsync -a`` or ``tar -x`` bring it."""
    monkeypatch.setattr(keeping, "cache_root", lambda: tmp_path / "cache")
    monkeypatch.setattr(choosing, "STORE_ROWS", 1)
    where = "auto" if place == "cache" else PLACES[place](root)
    opened(root, where)
    root.rename(tmp_path / "before")
    make_project(root, dict(reversed(FILES.items())), loose=["train/img/3.jpg", "train/img/4.jpg"])
    for path in [*root.rglob("*"), root]:
        os.utime(path, (LONG_AGO, LONG_AGO))
    tree = opened(root, where)
    assert all(tree.read(tree.find(path)) == data for path, data in FILES.items())
    assert len(builds) == 2


def test_a_copy_that_was_opened_stays_open(root, tmp_path, builds):
    """What was taken for true is looked at by what it is now."""
    opened(root, str(root / BESIDE))
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-a", root, copy], check=True)
    time.sleep(0.05)
    tree = opened(copy, "auto")
    assert len(builds) == 1
    assert renewed(tree.index.header, tree.storage, DiscoveryOptions())


def test_an_index_beside_is_used(root, builds):
    assert run(["index", "-q", "--beside", str(root)]) == 0
    builds.clear()
    for _ in range(2):
        assert len(open_project(root)["train"].names) == 30
    assert builds == []


@pytest.mark.parametrize("version", [inputs, choosing])
def test_rules_have_a_version(root, builds, monkeypatch, version):
    where = str(root.parent / "ix")
    opened(root, where)
    monkeypatch.setattr("blobdir.discovery.options.RULES", 99)
    opened(root, where)
    assert len(builds) == 2


# -- what others do to its files -------------------------------------------------------------------------------


def test_files_that_are_written_over_while_it_is_open(root, tmp_path):
    """Neither other bytes, nor the end of the process."""
    where = tmp_path / "ix"
    opened(root, str(where))
    code = (
        "import os, sys, pathlib\n"
        "from blobdir.opening import OpenOptions, open_tree\n"
        "tree = open_tree(sys.argv[1], options=OpenOptions(index=sys.argv[2]))\n"
        "for path in pathlib.Path(sys.argv[2]).iterdir():\n"
        "    data = path.read_bytes()\n"
        "    path.write_bytes(bytes(len(data)))\n"
        "    os.truncate(path, 0)\n"
        "for i in range(30):\n"
        "    assert tree.read(tree.find(f'train/img/{i}.jpg')) == b'%d' % i * 100\n"
        "assert len(tree.names(tree.find('train/img'))) == 30\n"
    )
    subprocess.run([sys.executable, "-c", code, str(root), str(where)], check=True)


def a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def huge(path):
    os.truncate(path, 1 << 42)


NO_ARRAY = b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (9,)}"
SPOILED = {
    "pipe": a_pipe, "huge": huge, "empty": lambda path: os.truncate(path, 0),
    "cut": lambda path: os.truncate(path, 100),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "device": lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
    "folder": lambda path: (path.unlink(), path.mkdir()), "gone": lambda path: path.unlink(),
    "no array": lambda path: path.write_bytes(NO_ARRAY),
    "link in a circle": lambda path: (path.unlink(), path.symlink_to(path.name)),
}  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILED)
@pytest.mark.parametrize("name", ["header.json", *(f"{column}.npy" for column in COLUMNS)])
@pytest.mark.timeout(60)
def test_spoiled_files(root, name, spoil, tmp_path):
    where = root / BESIDE
    opened(root, str(where))
    SPOILED[spoil](where / name)
    assert len(open_project(root)["train"].names) == 30


VALUES = [None, -1, 1 << 70, "x", [], {}, 1.5, True]


@pytest.mark.parametrize(
    "key", ["blobs", "inputs", "datasets", "defects", "incomplete", "links", "built_ns", "options", "place"]
)
@pytest.mark.parametrize("value", VALUES, ids=map(repr, VALUES))
def test_headers_with_any_content(root, key, value):
    """Somebody else's project may bring any header, with a right seal."""
    where = root / BESIDE
    opened(root, str(where))
    text = (where / "header.json").read_bytes().rpartition(b"\n")[0].rpartition(b"\n")[0]
    body = json.loads(text)
    for place in [
        [key],
        *([[key, 0, field] for field in body["header"][key][0]] if key in ("blobs", "inputs") else []),
    ]:
        changed = json.loads(text)
        at = changed["header"]
        for step in place[:-1]:
            at = at[step]
        at[place[-1]] = value
        rewritten = json.dumps(changed, indent=1, sort_keys=True).encode()
        (where / "header.json").write_bytes(rewritten + b"\n" + inputs.digest_of(rewritten).encode() + b"\n")
        project = open_project(root)
        assert len(project.filesystem.ls("train/img")) == 30


# -- links that are followed -------------------------------------------------------------------------------------


def to_nothing(link, disk):
    link.symlink_to(disk / "not there")


def to_images(link, disk):
    link.symlink_to(disk / "img")


def to_a_file(link, disk):
    link.symlink_to(disk / "file")


def to_a_link(link, disk):
    (disk / "between").symlink_to(disk / "img")
    link.symlink_to(disk / "between")


def in_a_circle(link, disk):
    (disk / "between").symlink_to(link.parent)
    link.symlink_to(disk / "between")


def mounted(disk):
    make_images(disk / "not there")


def gone(disk):
    (disk / "img").rename(disk / "away")


def a_file_instead(disk):
    gone(disk)
    (disk / "img").write_bytes(b"")


def a_folder_instead(disk):
    (disk / "file").unlink()
    make_images(disk / "file")


def others_instead(disk):
    (disk / "between").unlink()
    make_images(disk / "others")
    (disk / "others/x9.jpg").write_bytes(b"9")
    (disk / "between").symlink_to(disk / "others")


def more(disk):
    (disk / "img/new.jpg").write_bytes(b"new")


def make_images(folder):
    folder.mkdir()
    for i in range(3):
        (folder / f"x{i}.jpg").write_bytes(b"%d" % i)


LEADS = [
    (to_nothing, mounted), (to_images, gone), (to_images, a_file_instead), (to_images, more),
    (to_a_file, a_folder_instead), (to_a_file, lambda disk: (disk / "file").unlink()), (to_a_link, others_instead),
    (to_a_link, lambda disk: (disk / "between").unlink()), (in_a_circle, others_instead),
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("lead", "change"), LEADS)
def test_where_followed_links_lead_is_seen(root, tmp_path, builds, place, lead, change):
    disk = tmp_path / "disk"
    disk.mkdir()
    make_images(disk / "img")
    (disk / "file").write_bytes(b"file")
    (root / "extra/ann").mkdir(parents=True)
    lead(root / "extra/img", disk)
    time.sleep(0.05)

    def shown(where):
        options = OpenOptions(index=where, discovery=DiscoveryOptions(follow_links=True))
        tree = open_tree(root, options=options)
        return {tree.path(row): (tree.is_directory(row), tree.index.source[row]) for row in range(len(tree.index))}

    where = PLACES[place](root)
    before = shown(where)
    builds.clear()
    assert shown(where) == before
    assert not builds
    change(disk)
    assert shown(where) == shown("none") != before


# -- where they are kept -----------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch):
    place = tmp_path / "cache"
    monkeypatch.setattr(keeping, "cache_root", lambda: place)
    monkeypatch.setattr(choosing, "STORE_ROWS", 1)
    return place


def test_the_cache_is_the_owners(root, cache, builds):
    open_project(root)
    (kept,) = (cache / "index").iterdir()
    assert stat.S_IMODE((cache / "index").stat().st_mode) == 0o700
    open_project(root)
    assert len(builds) == 1
    kept.chmod(0o777)
    open_project(root)
    assert len(builds) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed")
@pytest.mark.parametrize("whose", ["index", "all"])
def test_cache_folders_of_others_are_not_used(root, cache, builds, whose):
    open_project(root)
    (kept,) = (cache / "index").iterdir()
    os.chown(cache / "index" if whose == "index" else kept, 1234, 1234)
    assert len(open_project(root)["train"].names) == 30
    assert len(builds) == 2


def test_the_cache_has_a_bound(tmp_path, cache, monkeypatch):
    roots = [make_project(tmp_path / f"p{i}", FILES) for i in range(6)]
    time.sleep(0.03)
    open_project(roots[0])
    (first,) = keeping.kept("index")
    monkeypatch.setitem(keeping.KEPT_BYTES, "index", 3 * first.size + 100)
    for root in roots[1:]:
        open_project(root)
        open_project(roots[0])  # what is used stays
    kept = keeping.kept("index")
    assert len(kept) == 3
    assert first.path in [one.path for one in kept]


@pytest.mark.parametrize("place", ["file in it", "link", "file"])
def test_folders_of_others_are_left_alone(root, tmp_path, place):
    where, other = tmp_path / "ix", tmp_path / "other"
    other.mkdir()
    (other / "precious.txt").write_text("precious")
    if place == "link":
        where.symlink_to(other)
    elif place == "file":
        where.write_text("precious")
    else:
        where.mkdir()
        (where / "header.json").write_text("{}")
        (where / "precious.txt").write_text("precious")
    for call in (lambda: opened(root, str(where)), lambda: run(["index", "-q", "-o", str(where), str(root)])):
        try:
            assert call() != 0
        except (UsageError, OSError):
            continue
    assert (other / "precious.txt").read_text() == "precious"
    assert where.is_symlink() or place != "link"


def test_a_blob_that_was_copied_in_is_looked_at(root, builds):
    """What a copy of a project can't tell apart by size and time, it doesn't have to: the offsets fit there too."""
    where = str(root / BESIDE)
    opened(root, where)
    copy = root.with_name("copy")
    shutil.copytree(root, copy)  # times are kept
    write_offsets(copy / "train/more_offsets.pkl", write_tar(copy / "blob/more.tar", {"new.jpg": b"new"}))
    tree = opened(copy, str(copy / BESIDE))
    assert tree.read(tree.find("train/img/new.jpg")) == b"new"
    assert len(load_index(copy / BESIDE)) == len(tree.index)


def test_a_warning_says_what_is_damaged(root, tmp_path):
    where = tmp_path / "ix"
    opened(root, str(where))
    os.truncate(where / "offset.npy", 90)
    with pytest.warns(BlobdirWarning, match=r"offset\.npy"):
        opened(root, str(where))
    assert DiscoveryOptions().to_json()["rules"]
