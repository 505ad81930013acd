"""Images by themselves: what they say is what the index says; judged without the kernel."""

import hashlib
import os
import random
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from blob_builder import Builder
from erofs_cases import open_now
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from project_factory import make_project

from blobdir.discovery.merge import entry_table
from blobdir.erofs import plan as plan_module
from blobdir.erofs import structures as on_disk
from blobdir.erofs.contents import DEVICE, ImageOptions, collect
from blobdir.erofs.crc32c import crc32c
from blobdir.erofs.directories import plan_directories
from blobdir.erofs.dump import dump_image, dump_tree
from blobdir.erofs.images import load_identity, prepare, write_image
from blobdir.erofs.plan import plan_image
from blobdir.erofs.reader import ImageReader
from blobdir.errors import IndexFormatError, SourceChangedError, UsageError
from blobdir.index import DIRECTORY, FIRST_BLOB, Header, build_index


def test_crc32c_of_the_standard():
    assert crc32c(b"123456789") ^ 0xFFFFFFFF == 0xE3069283  # RFC 3720, B.4
    assert crc32c(bytes(32)) ^ 0xFFFFFFFF == 0x8A9136AA


def test_dump_of_everything_is_the_indexs(wide, tmp_path):
    tree = open_now(wide)
    image = write_image(tree, tmp_path / "wide.erofs")
    lines = list(dump_image(image.path))
    assert lines == list(dump_tree(tree))
    assert len(lines) == len(tree.index) == image.rows
    assert image.unreadable == []


def test_sdk_project(digits, tmp_path):
    tree = open_now(digits)
    image = write_image(tree, tmp_path / "digits.erofs").path
    assert list(dump_image(image)) == list(dump_tree(tree))


def golden_project(root: Path) -> Path:
    """Small, and the same to the byte and the nanosecond wherever it's made."""
    project = Builder(root)
    project.blob("train", "one", {f"{i}.png": bytes([i]) * (500 + i) for i in range(5)})
    project.loose("notes.txt", b"x" * 700)
    (root / "link").symlink_to("notes.txt")
    for path in [*sorted(root.rglob("*"), key=lambda p: -len(p.parts)), root]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, ns=(0, 1_700_000_000_123_456_789), follow_symlinks=False)
    return root


@pytest.mark.parametrize(
    ("unified", "expected"),
    [
        pytest.param(64, "cd4e6d1faaeca5212602c4034e9fa2549a4233924a9d60ec46346ef852ea8c6f", id="one address space"),
        pytest.param(0, "f480d196a0df63b385c361aa467b02d53ade7d6cddaf3d8c5f727c8794c55158", id="chunk indexes"),
    ],
)
def test_golden(tmp_path, monkeypatch, unified, expected):
    monkeypatch.setattr(plan_module, "UNIFIED_DEVICES", unified)
    options = ImageOptions(uid=1000, gid=1000)
    tree = open_now(golden_project(tmp_path / "project"))
    image = write_image(tree, tmp_path / "golden.erofs", options).path
    with ImageReader(image) as reader:
        blocks = int(reader.superblock["blocks"])
    raw = bytearray(image.read_bytes()[: blocks * on_disk.BLOCK])
    # The identifier, and the checksum over it, say whose the files are: whoever runs the tests.
    raw[1028:1032], raw[1072:1088] = bytes(4), bytes(16)
    assert hashlib.sha256(raw).hexdigest() == expected
    assert list(dump_image(image)) == list(dump_tree(tree, options))


def test_same_project_gives_the_same_image(wide, tmp_path):
    first = write_image(open_now(wide), tmp_path / "1.erofs").path.read_bytes()
    second = write_image(open_now(wide), tmp_path / "2.erofs").path.read_bytes()
    assert first == second


dots = st.sampled_from([b".", b"..", b"-", b".-", b"..."])
any_bytes = st.binary(min_size=1, max_size=255) | st.builds(bytes.__add__, dots, st.binary(max_size=3))
names = any_bytes.filter(lambda name: b"\0" not in name and b"/" not in name and name not in (b".", b".."))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(names, unique=True, max_size=40), min_size=1, max_size=4))
def test_directories_of_any_names(folders):
    """Each list is a folder below the one before; read back as the kernel does, by the entries' own offsets."""
    tables, path = {}, ""
    for i, content in enumerate(folders):
        last = i == len(folders) - 1
        below = [] if last else [b"next"]
        files = [name for name in content if name != b"next"]
        table = entry_table(files + below, FIRST_BLOB)
        if below:
            table.source[len(files)] = DIRECTORY
        tables[path] = table
        path = f"{path}/next" if path else "next"
    index = build_index(tables, Header())
    plan = plan_directories(index)
    nids = np.arange(len(index)) + 100
    types = np.where(np.asarray(index.source) == DIRECTORY, on_disk.FT_DIRECTORY, on_disk.FT_FILE).astype(np.uint8)
    for i, row in enumerate(plan.rows.tolist()):
        first, end = int(plan.first_block[i]), int(plan.first_block[i + 1])
        raw = plan.blocks(first, end, nids, types).tobytes()[: int(plan.sizes[i])]
        found = []
        for at in range(0, len(raw), on_disk.BLOCK):
            block = raw[at : at + on_disk.BLOCK]
            count = int.from_bytes(block[8:10], "little") // 12
            offsets = [int.from_bytes(block[12 * k + 8 : 12 * k + 10], "little") for k in range(count)]
            for k, (low, high) in enumerate(zip(offsets, [*offsets[1:], len(block)], strict=True)):
                nid, kind = int.from_bytes(block[12 * k : 12 * k + 8], "little"), block[12 * k + 10]
                found.append((block[low:high].rstrip(b"\0"), nid - 100, kind))
        expected = [(index.name(child), child, types[child]) for child in index.children(row)]
        expected += [(b".", row, on_disk.FT_DIRECTORY), (b"..", index.parent(row), on_disk.FT_DIRECTORY)]
        assert found == sorted(expected)


def test_a_million_names_take_a_hundred_bytes_each(tmp_path):
    n = 1_000_000
    rows = entry_table([b"image_%08d.jpg" % i for i in range(n)], FIRST_BLOB)
    rows.offset[:], rows.size[:] = np.arange(n) * 1024 + 512, 700
    index = build_index({"": rows}, Header())
    assert len(plan_directories(index).names) == 18 * n + 3


# -- what isn't as it should be ------------------------------------------------------------------------------------


def hand_made(root: Path, *, cut: int = 0) -> Path:
    """A blob whose members don't begin at multiples of 512, as only a hand-made one has them."""
    random.seed(4)
    project = Builder(root)
    data = random.randbytes(10_000)
    project.tar("hand", {"whole.bin": data})
    tar = root / "blob/hand.tar"
    project.offsets("train", "hand", [(b"a.png", 512, 1512), (b"b.png", 513, 2000), (b"c.png", 2048, 10_512)])
    if cut:
        os.truncate(tar, cut)
    return root


@pytest.mark.filterwarnings("ignore")
def test_unaligned_members_are_copied(tmp_path):
    tree = open_now(hand_made(tmp_path / "project"), on_defect="ignore")
    image = write_image(tree, tmp_path / "hand.erofs")
    assert image.copied_bytes == 2000 - 513 + tree.size(tree.find("meta.json"))
    assert list(dump_image(image.path)) == list(dump_tree(tree))


@pytest.mark.filterwarnings("ignore")
def test_unaligned_members_are_refused_if_asked_for(tmp_path):
    tree = open_now(hand_made(tmp_path / "project"), on_defect="ignore")
    with pytest.raises(UsageError, match="1 image doesn't begin at a multiple of 512"):
        write_image(tree, tmp_path / "hand.erofs", ImageOptions(unaligned="refuse"))
    assert list(tmp_path.glob("*.erofs")) == list(tmp_path.glob(".*.erofs*")) == []


@pytest.mark.filterwarnings("ignore")
def test_member_in_a_block_that_the_tar_cuts_off_is_copied(tmp_path):
    """The kernel reads whole blocks; one that isn't all there would be an I/O error."""
    root = hand_made(tmp_path / "project", cut=10_520)
    tree = open_now(root, on_defect="ignore")
    contents = collect(tree, ImageOptions())
    assert contents.kind[tree.find("train/img/a.png")] == DEVICE
    assert contents.kind[tree.find("train/img/c.png")] != DEVICE
    image = write_image(tree, tmp_path / "cut.erofs").path
    assert list(dump_image(image)) == list(dump_tree(tree))


@pytest.mark.filterwarnings("ignore")
def test_members_past_the_end_are_unreadable(tmp_path):
    root = hand_made(tmp_path / "project", cut=5_000)
    tree = open_now(root, on_defect="ignore")
    image = write_image(tree, tmp_path / "cut.erofs").path
    lines = {line.split()[0]: line for line in dump_image(image)}
    assert lines["/train/img/c.png"].endswith(" unreadable")
    assert lines["/train/img/a.png"].endswith(" blob/hand.tar@512")


@pytest.mark.filterwarnings("ignore")
def test_reasons_for_unreadable_parts_are_told(tmp_path):
    root = make_project(tmp_path / "project", {"train/img/a.png": b"a" * 600, "test/img/b.png": b"b" * 600})
    (root / "blob/0-train.tar").unlink()
    image = write_image(open_now(root), tmp_path / "image.erofs")
    assert any("0-train.tar: is missing" in reason for reason in image.unreadable)
    assert load_identity(image.path).unreadable == image.unreadable


@pytest.mark.platform
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", ["everything", "chunk indexes", "sdk", "unaligned", "cut"])
def test_fsck_finds_nothing(what, wide, digits, fsck, tmp_path, monkeypatch):
    """The format's own judge, over all metadata and all data."""
    root = {"sdk": digits, "everything": wide, "chunk indexes": wide}.get(what)
    if what == "chunk indexes":
        monkeypatch.setattr(plan_module, "UNIFIED_DEVICES", 0)
    if root is None:
        root = hand_made(tmp_path / "project", cut=10_520 if what == "cut" else 0)
    fsck(write_image(open_now(root, on_defect="ignore"), tmp_path / "image.erofs").path)


def test_too_much_to_copy_is_refused(wide, tmp_path):
    with pytest.raises(UsageError, match="more than the 1,000 that are allowed"):
        write_image(open_now(wide), tmp_path / "image.erofs", ImageOptions(max_copy_bytes=1000))


def test_remote_projects_are_refused(tmp_path):
    import fsspec

    fs = fsspec.filesystem("memory")
    fs.pipe("/erofs/meta.json", b"{}")
    from blobdir.opening import open_tree

    with pytest.raises(UsageError, match="local blobs only"):
        write_image(open_tree("memory://erofs"), tmp_path / "image.erofs")


def test_more_blobs_than_share_an_address_space(tmp_path, monkeypatch):
    monkeypatch.setattr(plan_module, "UNIFIED_DEVICES", 2)
    files = {f"d{i}/img/{j}.png": bytes([i, j]) * 400 for i in range(5) for j in range(4)}
    tree = open_now(make_project(tmp_path / "project", files))
    image = write_image(tree, tmp_path / "image.erofs").path
    with ImageReader(image) as reader:
        assert reader.superblock["feature_incompat"] & on_disk.INCOMPAT_CHUNKED
    assert list(dump_image(image)) == list(dump_tree(tree))


def test_blob_of_over_two_tebibytes_is_refused(wide):
    tree = open_now(wide)
    contents = collect(tree, ImageOptions())
    from dataclasses import replace

    contents.devices[0] = replace(contents.devices[0], size=3 << 40)
    with pytest.raises(UsageError, match="more than the 2 TiB"):
        plan_image(tree.index, contents)


# -- kept and reused -----------------------------------------------------------------------------------------------


def test_image_is_reused_until_something_changes(tmp_path):
    root = make_project(tmp_path / "project", {"train/img/a.png": b"a" * 600, "train/ann/a.png.json": b"{}"})
    folder = tmp_path / "images"
    assert prepare(open_now(root), folder).built
    assert not prepare(open_now(root), folder).built
    assert prepare(open_now(root), folder, ImageOptions(umask=0o77)).built
    (root / "train/ann/a.png.json").write_bytes(b"[]")
    os.utime(root / "train/ann/a.png.json", ns=(0, 5))
    assert prepare(open_now(root), folder).built
    (root / "train/ann/b.png.json").write_bytes(b"{}")
    assert prepare(open_now(root), folder).built
    assert not prepare(open_now(root), folder).built
    assert len(list(folder.iterdir())) == 2


OLD, NEW = b'{"tags": ["cat"]}', b'{"tags": ["dog"]}'


def in_place(path, other):
    path.write_bytes(NEW)


def renamed_over(path, other):
    new = path.with_name("new")
    new.write_bytes(NEW)
    new.replace(path)


def swapped(path, other):
    path.rename(path.with_name("between"))
    other.rename(path)
    path.with_name("between").rename(other)


@pytest.mark.parametrize("right_after", [False, True])
@pytest.mark.parametrize("change", [in_place, renamed_over, swapped])
def test_a_file_of_the_same_size_and_time_is_another_one(tmp_path, change, right_after):
    """As annotations have that came from one archive, and `cp -p` keeps."""
    names = [f"train/ann/{name}.png.json" for name in "ab"]
    root = make_project(tmp_path / "p", {"train/img/a.png": b"a" * 600, names[0]: OLD, names[1]: NEW})
    path, other = (root / name for name in names)
    times = dict.fromkeys((path, other, path.parent), (1000000000000000000,) * 2)

    def set_times():
        for place, ns in times.items():
            os.utime(place, ns=ns)

    set_times()
    time.sleep(0 if right_after else 0.03)
    image = prepare(open_now(root), tmp_path / "images")
    assert OLD.decode() in str(image.path.read_bytes())
    exported = write_image(open_now(root), tmp_path / "exported.erofs", for_copies=True).path
    assert not prepare(open_now(root), tmp_path / "images").built
    change(path, other)
    set_times()
    assert names[0] in list(load_identity(image.path).changed())
    assert prepare(open_now(root), tmp_path / "images").built
    assert list(dump_image(image.path)) == list(dump_tree(open_now(root)))
    assert list(load_identity(image.path).changed()) == []
    # One that travels knows copies by size and time, and so it knows these.
    assert list(load_identity(exported).changed()) == []
    copy = shutil.copytree(root, tmp_path / "copy")
    set_times()
    assert list(load_identity(exported).changed(str(copy))) == []


def test_damaged_image_is_made_anew(tmp_path):
    root = make_project(tmp_path / "project", {"train/img/a.png": b"a" * 600})
    image = prepare(open_now(root), tmp_path / "images")
    raw = bytearray(image.path.read_bytes())
    for damaged in (bytes(raw[:-512]), bytes(raw[:1000]), b"", bytes([*raw[:-40], raw[-40] ^ 1, *raw[-39:]])):
        image.path.write_bytes(damaged)
        with pytest.raises(IndexFormatError):
            load_identity(image.path)
        assert prepare(open_now(root), tmp_path / "images").built


def test_file_that_changes_while_it_is_copied(tmp_path, monkeypatch):
    root = make_project(tmp_path / "project", {"train/img/a.png": b"a" * 600, "notes": b"n" * 5000})
    tree = open_now(root)
    from blobdir.erofs import images

    plan = images.plan_image
    grown = iter([b"n" * 6000, b"n" * 100])

    def plan_then_change(index, contents):
        planned = plan(index, contents)
        if (data := next(grown, None)) is not None:
            (root / "notes").write_bytes(data)
        return planned

    monkeypatch.setattr(images, "plan_image", plan_then_change)
    image = write_image(tree, tmp_path / "image.erofs")  # the third time it holds still
    assert list(dump_image(image.path)) == list(dump_tree(tree))
    grown = iter([b"1" * n for n in range(1, 9)])
    with pytest.raises(SourceChangedError, match="notes: had"):
        write_image(tree, tmp_path / "other.erofs")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image.erofs", "project"]


def test_position_is_checked(tmp_path, wide, monkeypatch):
    """A plan that doesn't fit what is written is found by the writer."""
    from dataclasses import replace

    from blobdir.erofs import images
    from blobdir.erofs.writer import LayoutError

    plan = images.plan_image

    def wrong(index, contents):
        planned = plan(index, contents)
        start = planned.start.copy()
        start[np.flatnonzero(planned.tail > 0)[-1]] += 0
        start[planned.start == planned.files_block] += 1
        return replace(planned, start=start)

    monkeypatch.setattr(images, "plan_image", wrong)
    with pytest.raises(LayoutError):
        write_image(open_now(wide), tmp_path / "image.erofs")
