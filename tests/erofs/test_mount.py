"""Images mounted by the kernel: every byte and attribute is the tree's, and what can't be trusted is refused."""

import mmap
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from blob_builder import Builder
from erofs_cases import open_now
from project_factory import make_project, plain_copy

from blobdir.erofs import images
from blobdir.erofs.attach import mount_image, unmount
from blobdir.erofs.contents import DEVICE, ImageOptions, collect
from blobdir.erofs.gate import look
from blobdir.erofs.images import load_identity, prepare, write_image
from blobdir.errors import BlobdirWarning, MountError, SourceChangedError
from blobdir.index import LINK
from blobdir.offsets import write_offsets

# To be skipped where the kernel can't, or this user may not; `test_image.py` checks the images there.
pytestmark = [pytest.mark.timeout(60), pytest.mark.platform]


def compare(point, tree, options=None):
    """Everything that there is, by every way to read it."""
    contents = collect(tree, options or ImageOptions())
    for row in range(len(tree.index)):
        path = os.fsencode(point) + b"/" + tree.index.path(row)
        found, expected = os.lstat(path), tree.attributes(row)
        attributes = contents.attributes[contents.attribute[row]]
        assert (found.st_mode, found.st_uid, found.st_gid) == tuple(attributes.tolist()[:3])
        assert found.st_mtime_ns == found.st_ctime_ns == expected.mtime_ns
        if tree.is_directory(row):
            names = sorted(os.listdir(path))
            assert names == [tree.index.name(child) for child in tree.index.children(row)]
            folders = [child for child in tree.index.children(row) if tree.is_directory(child)]
            assert found.st_nlink == 2 + len(folders)
        elif tree.index.source[row] == LINK:
            assert os.readlink(path) == os.fsencode(tree.link_target(row))
            assert found.st_size == len(os.readlink(path))
        else:
            data = tree.read(row)
            assert found.st_size == len(data) and found.st_nlink == 1
            with open(path, "rb") as file:
                assert file.read() == data
                if data:
                    with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
                        assert mapped[:] == data
                    middle = len(data) // 2
                    assert os.pread(file.fileno(), 100, middle) == data[middle : middle + 100]


def test_everything(wide, backing, mount, tmp_path):
    tree = open_now(wide)
    point = mount(write_image(tree, tmp_path / "wide.erofs").path, backing)
    compare(point, tree)


def test_everything_with_chunk_indexes(wide, backing, mount, tmp_path, monkeypatch):
    from blobdir.erofs import plan

    monkeypatch.setattr(plan, "UNIFIED_DEVICES", 0)
    tree = open_now(wide)
    point = mount(write_image(tree, tmp_path / "wide.erofs").path, backing)
    compare(point, tree)


def test_sdk_project(digits, backing, mount, tmp_path):
    tree = open_now(digits)
    compare(mount(write_image(tree, tmp_path / "digits.erofs").path, backing), tree)


def test_diff_with_plain_files(tmp_path, mount):
    random.seed(1)
    files = {f"train/img/{i}.png": random.randbytes(i * 100) for i in range(200)} | {"train/ann/1.json": b"{}"}
    image = write_image(open_now(make_project(tmp_path / "project", files, blobs=3)), tmp_path / "image.erofs")
    plain = plain_copy(tmp_path / "plain", files)
    result = subprocess.run(["diff", "-r", mount(image.path), plain], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_nothing_can_be_changed(wide, mount, tmp_path):
    point = mount(write_image(open_now(wide), tmp_path / "wide.erofs").path)
    for change in (
        lambda: os.open(point / "meta.json", os.O_RDWR),
        lambda: os.open(point / "new", os.O_WRONLY | os.O_CREAT),
        lambda: os.mkdir(point / "new"),
        lambda: os.unlink(point / "meta.json"),
        lambda: os.rename(point / "meta.json", point / "other"),
        lambda: os.chmod(point / "meta.json", 0o777),
        lambda: os.utime(point / "meta.json"),
    ):
        with pytest.raises(OSError, match="Read-only file system"):
            change()
    flags = os.statvfs(point).f_flag
    assert flags & os.ST_RDONLY and flags & os.ST_NOSUID and flags & os.ST_NODEV


def test_copy_by_the_kernel(wide, mount, tmp_path):
    """sendfile, as web servers and ``cp`` use it."""
    tree = open_now(wide)
    point = mount(write_image(tree, tmp_path / "wide.erofs").path)
    data = tree.read(tree.find("train/img/199.png"))
    with open(point / "train/img/199.png", "rb") as source, open(tmp_path / "copy", "w+b") as target:
        assert os.sendfile(target.fileno(), source.fileno(), 0, len(data)) == len(data)
        target.seek(0)
        assert target.read() == data


def sparse_member(tar: Path, size: int, marks: dict[int, bytes]) -> list[tuple[bytes, int, int]]:
    """A tar whose member is large, and all zeros but for some bytes; it takes no room."""
    tar.parent.mkdir(parents=True)
    info = tarfile.TarInfo("large.bin")
    info.size = size
    header = info.tobuf(tarfile.GNU_FORMAT)
    with open(tar, "wb") as file:
        file.write(header)
        for at, data in marks.items():
            file.seek(len(header) + at)
            file.write(data)
        file.truncate((len(header) + size + 2 * 512 + 511) // 512 * 512)
    return [(b"large.bin", len(header), len(header) + size)]


def test_member_over_four_gibibytes(tmp_path, backing, mount):
    size = (5 << 30) + 123
    marks = {0: b"begin", (4 << 30) - 2: b"border", size - 3: b"end"}
    project = Builder(tmp_path / "project")
    entries = sparse_member(tmp_path / "project/blob/large.tar", size, marks)
    project.offsets("train", "large", entries)
    point = mount(write_image(open_now(tmp_path / "project"), tmp_path / "image.erofs").path, backing)
    with open(point / "train/img/large.bin", "rb") as file:
        assert os.fstat(file.fileno()).st_size == size
        for at, data in marks.items():
            assert os.pread(file.fileno(), len(data), at) == data
            assert os.pread(file.fileno(), 6, at + len(data)) == bytes(min(6, size - at - len(data)))


def test_a_thousand_blobs(tmp_path, mount):
    """More than the usual limit of open files, and more than share an address space."""
    random.seed(6)
    project = Builder(tmp_path / "project")
    for i in range(1000):
        project.offsets(
            "train", f"{i}", project.tar(f"{i}", {f"{i}-{j}.png": random.randbytes(700 + i) for j in (0, 1)})
        )
    tree = open_now(tmp_path / "project")
    image = write_image(tree, tmp_path / "image.erofs")
    assert len(load_identity(image.path).blobs) == 1000
    began = time.perf_counter()
    point = mount(image.path)
    assert time.perf_counter() - began < 5
    compare(point, tree)


@pytest.mark.filterwarnings("ignore")
def test_a_million_names_in_one_directory(tmp_path, mount):
    n = 1_000_000
    project = Builder(tmp_path / "project")
    _, start, end = project.tar("one", {"a.png": b"a" * 700})[0]
    (tmp_path / "project/train").mkdir()
    write_offsets(tmp_path / "project/train/one_offsets.pkl", [(b"image_%07d.png" % i, start, end) for i in range(n)])
    # All names are those of one member, which doesn't have them: that is a defect.
    image = write_image(open_now(tmp_path / "project", on_defect="ignore"), tmp_path / "image.erofs")
    assert image.size / n <= 100
    point = mount(image.path)
    with os.scandir(point / "train/img") as entries:
        assert sum(1 for _ in entries) == n
    for i in (0, 1, 15, 16, 499_999, n - 1):
        assert (point / f"train/img/image_{i:07}.png").read_bytes() == b"a" * 700
    assert not (point / f"train/img/image_{n:07}.png").exists()


@pytest.mark.filterwarnings("ignore")
def test_blobs_that_no_tar_program_made(tmp_path, backing, mount):
    """Members anywhere, and a blob that ends within a block."""
    random.seed(7)
    project = Builder(tmp_path / "project")
    project.tar("hand", {"whole.bin": random.randbytes(10_000)})
    project.offsets("train", "hand", [(b"a", 512, 1512), (b"b", 513, 2000), (b"c", 2048, 10_512)])
    os.truncate(tmp_path / "project/blob/hand.tar", 10_520)
    tree = open_now(tmp_path / "project", on_defect="ignore")
    assert {collect(tree, ImageOptions()).kind[tree.find(f"train/img/{n}")] == DEVICE for n in "abc"} == {True, False}
    compare(mount(write_image(tree, tmp_path / "image.erofs").path, backing), tree)


@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_read_is_an_error(tmp_path, backing, mount):
    """EIO, never zeros, another blob's bytes, or a shorter list."""
    files = {f"{d}/img/{i}.png": bytes([65 + i]) * 9_000 for d in ("train", "test", "val") for i in range(3)}
    root = make_project(tmp_path / "project", files)
    blobs = sorted((root / "blob").iterdir())
    blobs[0].unlink()
    (root / "val" / "broken_offsets.pkl").write_bytes(b"\x80\x04\x95")
    with open(root / "blob/1-test.tar", "r+b") as file:
        file.truncate(15_000)
    tree = open_now(root)
    point = mount(write_image(tree, tmp_path / "image.erofs").path, backing)
    for path in ("train/img/0.png", "train/img/2.png", "test/img/1.png", "test/img/2.png"):
        with pytest.raises(OSError, match="Input/output error"):
            (point / path).read_bytes()
        with open(point / path, "rb") as file, pytest.raises(OSError, match="Input/output error"):
            os.pread(file.fileno(), 10, 8_000)
    assert sorted(os.listdir(point / "train/img")) == ["0.png", "1.png", "2.png"]
    with pytest.raises(OSError, match="Input/output error"):  # the list would be shorter than the truth
        os.listdir(point / "val/img")
    assert sorted(os.listdir(point / "val")) == ["img"]


def test_shown_blobs_are_not_copied(tmp_path, mount):
    root = make_project(tmp_path / "project", {"train/img/a.png": b"a" * 100_000})
    tree = open_now(root, show_blobs=True)
    image = write_image(tree, tmp_path / "image.erofs")
    assert image.copied_bytes < 10_000
    point = mount(image.path)
    assert (point / "blob/0-train.tar").read_bytes() == (root / "blob/0-train.tar").read_bytes()
    compare(point, tree)


# -- whose it is ---------------------------------------------------------------------------------------------------


def as_nobody(path: Path) -> str:
    """What ``cat`` gives, or says, as a user without rights."""
    result = subprocess.run(["cat", path], user=65534, group=65534, extra_groups=[], capture_output=True, check=False)
    return result.stdout.decode() or result.stderr.decode().rpartition(": ")[2].strip()


@pytest.fixture
def open_path(tmp_path):
    """Folders of tests are private; a user without rights must get as far as the mount."""
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)


def test_private_tar_stays_private(tmp_path, mount, open_path):
    root = make_project(tmp_path / "project", {"train/img/a.png": b"a" * 600, "test/img/b.png": b"b" * 600})
    (root / "blob/0-train.tar").chmod(0o600)
    point = mount(write_image(open_now(root), tmp_path / "image.erofs").path)
    assert as_nobody(point / "train/img/a.png") == "Permission denied"
    assert as_nobody(point / "test/img/b.png") == "b" * 600
    assert stat.S_IMODE((tmp_path / "image.erofs").stat().st_mode) == 0o600


def test_private_image_is_for_its_owner(tmp_path, mount, open_path):
    """The project may lie in a private folder, which no mode in it tells."""
    root = make_project(tmp_path / "project", {"train/img/a.png": b"a" * 600})
    options = ImageOptions(private=True)
    point = mount(write_image(open_now(root), tmp_path / "image.erofs", options).path)
    assert as_nobody(point / "train/img/a.png") == "Permission denied"
    mine = mount(write_image(open_now(root), tmp_path / "mine.erofs", replace(options, uid=65534)).path)
    assert as_nobody(mine / "train/img/a.png") == "a" * 600


def test_owner_and_mask_by_option(wide, mount, tmp_path):
    options = ImageOptions(uid=70_000, gid=1234, umask=0o027)
    tree = open_now(wide)
    point = mount(write_image(tree, tmp_path / "image.erofs", options).path)
    compare(point, tree, options)
    found = os.stat(point / "train/img/a.png")
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (70_000, 1234, 0o440)


# -- what must not be mounted --------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path):
    """A project and an image of it."""
    root = make_project(tmp_path / "project", {"train/img/a.png": b"a" * 3_000_000, "train/ann/a.png.json": b"{}"})
    return root, write_image(open_now(root), tmp_path / "image.erofs").path


@pytest.mark.parametrize("change", ["shorter", "newer", "gone", "other", "link out"])
def test_wrong_blob_is_refused(small, mount, tmp_path, change):
    root, image = small
    blob = root / "blob/0-train.tar"
    found = blob.stat()
    if change == "shorter":
        os.truncate(blob, 2_000_000)
        os.utime(blob, ns=(0, found.st_mtime_ns))
    elif change == "newer":
        os.utime(blob, ns=(0, found.st_mtime_ns + 1))
    elif change == "gone":
        blob.unlink()
    elif change == "other":  # same size, same time
        with open(blob, "r+b") as file:
            file.seek(-600_000, os.SEEK_END)
            file.write(b"b")
        os.utime(blob, ns=(0, found.st_mtime_ns))
    else:
        shutil.move(blob, tmp_path / "outside.tar")
        blob.symlink_to(tmp_path / "outside.tar")
    with pytest.raises((SourceChangedError, OSError), match=r"0-train\.tar"):
        mount(image)
    assert not os.path.ismount(tmp_path / "mount 0")


def test_copied_project_is_mounted_where_it_is_now(small, mount, tmp_path):
    """An image that was exported knows copies of its blobs; any other one knows only the files themselves."""
    root, image = small
    exported = write_image(open_now(root), tmp_path / "exported.erofs", for_copies=True).path
    subprocess.run(["cp", "-a", root, tmp_path / "copy"], check=True)
    shutil.rmtree(root)
    with pytest.raises(SourceChangedError, match="is gone"):
        mount(exported)
    point = tmp_path / "again"
    point.mkdir()
    with pytest.raises(SourceChangedError, match="is another file, or was written to"):
        mount_image(image, str(point), root=str(tmp_path / "copy"))
    mount_image(exported, str(point), root=str(tmp_path / "copy"))
    try:
        assert (point / "train/img/a.png").read_bytes() == b"a" * 3_000_000
    finally:
        unmount(str(point))


@pytest.mark.parametrize("for_copies", [True, False])
def test_a_blob_with_other_members_in_its_middle_is_refused(mount, tmp_path, for_copies):
    """Of the same size and time, and the same at both ends."""
    made = Builder(tmp_path / "p")
    members = {f"{i:03d}.png": bytes([i]) * 200_000 for i in range(16)}
    made.blob("train", "b", members)
    os.utime(made.root / "blob/b.tar", ns=(1, 1))
    image = write_image(open_now(made.root), tmp_path / "image.erofs", for_copies=for_copies).path
    names = list(members)
    names[7:9] = names[8], names[7]
    Builder(tmp_path / "other").tar("b", {name: members[name] for name in names})
    os.utime(tmp_path / "other/blob/b.tar", ns=(1, 1))
    os.replace(tmp_path / "other/blob/b.tar", made.root / "blob/b.tar")
    with pytest.raises(SourceChangedError, match="other members" if for_copies else "is another file"):
        mount(image)


def test_kernel_that_cannot_is_refused_with_the_reason(small, tmp_path):
    facts = replace(look(), release="6.3.9")
    with pytest.raises(MountError, match=r"needs Linux 6\.4, for blocks of 512 bytes; this is 6\.3\.9"):
        mount_image(small[1], str(tmp_path / "nowhere"), facts=facts)


def test_mountpoint_that_is_not_there(small, tmp_path):
    if not look().may_mount:
        pytest.skip("may not mount here")
    with pytest.raises(MountError, match="make the folder first"):
        mount_image(small[1], str(tmp_path / "nowhere"))


def test_damaged_image_is_refused_by_the_kernel_too(small, mount, tmp_path):
    image = small[1]
    raw = bytearray(image.read_bytes())
    raw[1024 + 20] ^= 1  # the number of inodes, which the checksum covers
    image.write_bytes(raw)
    with pytest.raises(MountError):
        mount(image)


# -- as time goes by -----------------------------------------------------------------------------------------------


def test_changed_files_are_told_and_a_new_image_has_them(small, mount, tmp_path):
    root, image = small
    point = mount(image)
    assert list(load_identity(image).changed()) == []
    (root / "train/ann/a.png.json").write_bytes(b'{"new": 1}')
    assert list(load_identity(image).changed()) == ["train/ann/a.png.json"]
    assert (point / "train/ann/a.png.json").read_bytes() == b"{}"
    fresh = write_image(open_now(root), image)
    assert (point / "train/ann/a.png.json").read_bytes() == b"{}"  # the old image, until it's unmounted
    unmount(str(point))
    assert (mount(fresh.path) / "train/ann/a.png.json").read_bytes() == b'{"new": 1}'


def test_blob_renamed_over_while_mounted(small, mount, tmp_path):
    root, image = small
    point = mount(image)
    (tmp_path / "new.tar").write_bytes(bytes(4_000_000))
    os.rename(tmp_path / "new.tar", root / "blob/0-train.tar")
    assert (point / "train/img/a.png").read_bytes() == b"a" * 3_000_000


def test_blob_cut_short_while_mounted(small, mount, backing):
    """Zeros would be wrong bytes."""
    root, image = small
    point = mount(image, backing)
    os.truncate(root / "blob/0-train.tar", 4096)
    with open(point / "train/img/a.png", "rb") as file:
        for at in (4096, 2_000_000, 2_999_900, 0):  # readahead may fail as a whole, so the first bytes too
            with suppress(OSError):
                assert os.pread(file.fileno(), 100, at) == b"a" * 100 and at == 0


def test_killed_readers_leave_no_wrong_bytes(tmp_path, mount):
    """Readers that are killed in the middle of a read, from a cold cache."""
    random.seed(3)
    data = random.randbytes(32 << 20)
    image = write_image(open_now(make_project(tmp_path / "project", {"train/img/a.bin": data})), tmp_path / "i.erofs")
    point = mount(image.path)
    code = "import sys\nsys.stdout.write('x'); sys.stdout.flush()\nopen(sys.argv[1],'rb').read()"
    for i in range(8):
        for path in (point / "train/img/a.bin", tmp_path / "project/blob/0-train.tar"):
            fd = os.open(path, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)
        with subprocess.Popen(
            [sys.executable, "-c", code, point / "train/img/a.bin"], stdout=subprocess.PIPE
        ) as reader:
            reader.stdout.read(1)
            time.sleep(0.002 * i)
            reader.send_signal(signal.SIGKILL)
        assert (point / "train/img/a.bin").read_bytes() == data


def test_busy_mount_is_not_unmounted_unless_lazily(small, mount):
    point = mount(small[1])
    with open(point / "train/img/a.png", "rb") as file:
        with pytest.raises(MountError, match="close what uses it"):
            unmount(str(point))
        unmount(str(point), lazy=True)
        assert not os.path.ismount(point)
        assert file.read() == b"a" * 3_000_000
    with pytest.raises(MountError, match="nothing is mounted"):
        unmount(str(point))


def test_loop_devices_go_with_the_mount(small, tmp_path, backing):
    point = tmp_path / "point"
    point.mkdir()

    def in_use():
        return {p.parent.name for p in Path("/sys/block").glob("loop*/loop")}

    before = in_use()
    made = mount_image(small[1], str(point), backing="loop" if backing == "loop" else "auto")
    try:
        assert made.backing == backing
        assert len(in_use() - before) == (2 if backing == "loop" else 0)
    finally:
        unmount(str(point))
    deadline = time.monotonic() + 10
    while in_use() - before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert in_use() <= before


def test_image_where_files_cannot_back_a_mount(small, mount):
    """On tmpfs the kernel takes no file as the image; loop devices do there."""
    folder = Path("/dev/shm")
    if not os.access(folder, os.W_OK) or os.statvfs(folder).f_bavail == 0:
        pytest.skip("no tmpfs at /dev/shm")
    image = folder / f"blobdir-test-{os.getpid()}.erofs"
    shutil.copyfile(small[1], image)
    try:
        point = mount(image)
        assert (point / "train/img/a.png").read_bytes() == b"a" * 3_000_000
    finally:
        image.unlink()


def test_paths_that_mount8_could_not_take(tmp_path, mount):
    """Commas, and more bytes than a mount option may have."""
    deep = tmp_path / "a,b=c" / ("long " * 40) / ("longer " * 30)
    root = make_project(deep / "project", {"train/img/a.png": b"a" * 600})
    image = prepare(open_now(root), deep / "images").path
    assert len(os.fsencode(image)) > 255
    assert (mount(image) / "train/img/a.png").read_bytes() == b"a" * 600


def test_prepared_mount_takes_milliseconds(small, mount, monkeypatch):
    root, image = small
    tree = open_now(root)
    prepare(tree, image.parent / "kept")
    monkeypatch.setattr(images, "write_image", None)  # nothing is written the second time
    began = time.perf_counter()
    kept = prepare(tree, image.parent / "kept")
    mount(kept.path)
    assert time.perf_counter() - began < 0.5
    assert np.isfinite(kept.size)


def test_blob_behind_a_link(tmp_path, mount):
    """Out of the project only with follow_links, as everywhere; the image remembers."""
    root = make_project(tmp_path / "project", {"train/img/a.png": b"a" * 600})
    shutil.move(root / "blob/0-train.tar", tmp_path / "elsewhere.tar")
    (root / "blob/0-train.tar").symlink_to(tmp_path / "elsewhere.tar")
    image = write_image(open_now(root, follow_links=True), tmp_path / "image.erofs").path
    assert (mount(image) / "train/img/a.png").read_bytes() == b"a" * 600
    with pytest.warns(BlobdirWarning, match="leads outside"):
        tree = open_now(root)
    closed = write_image(tree, tmp_path / "closed.erofs")
    assert "leads outside the project" in closed.unreadable[0]
    assert load_identity(closed.path).blobs == []
    with pytest.raises(OSError, match="Input/output error"):
        (mount(closed.path) / "train/img/a.png").read_bytes()


def test_project_that_changes_while_another_reads(tmp_path, mount):
    """Twenty remounts over edits, each with the truth of its time, readers of the old ones undisturbed."""
    root = make_project(tmp_path / "project", {"train/img/a.png": b"a" * 600, "train/ann/a.json": b"0"})
    held = []
    for i in range(20):
        (root / "train/ann/a.json").write_bytes(b"%d" % i * 400)
        point = mount(prepare(open_now(root), tmp_path / "images").path)
        held.append(open(point / "train/ann/a.json", "rb"))  # noqa: SIM115 - held until all are mounted
    for i, file in enumerate(held):
        assert file.read() == b"%d" % i * 400
        file.close()
    assert len(list((tmp_path / "images").iterdir())) == 1
