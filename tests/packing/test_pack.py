"""Packing: the bytes, what is reported, and what is left when it's cut off."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from array import array
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import blobdir
from blobdir.errors import NotAProjectError, PackError, UsageError
from blobdir.packing import PackOptions, pack
from blobdir.packing.columns import TextColumn
from blobdir.packing.report import parse_size
from blobdir.tarwriting.format import archive_end, member_header, padding

COMMAND = str(Path(sys.executable).with_name("blobdir"))
JPEG = b"\xff\xd8\xff"


def digest(folder):
    """Path -> SHA-256 of everything below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def picture(seed, size=(8, 6)):
    data = io.BytesIO()
    Image.effect_noise(size, 50 + seed % 50).convert("RGB").save(data, "PNG")
    return data.getvalue()


@pytest.fixture
def regular(tmp_path):
    """A regular project of two datasets and a nested one."""
    root = tmp_path / "regular"
    source = random.Random(2)
    for dataset in ("train", "train/datasets/hard", "test"):
        for folder in ("img", "ann"):
            (root / dataset / folder).mkdir(parents=True)
        for i in range(40):
            name = f"ïmage {i:03d}.jpg"
            (root / dataset / "img" / name).write_bytes(JPEG + source.randbytes(source.randrange(20_000)))
            (root / dataset / "ann" / f"{name}.json").write_text('{"size": {"height": 1, "width": 1}, "objects": []}')
    (root / "meta.json").write_text('{"classes": [], "tags": [], "projectType": "images"}')
    (root / "README.md").write_text("read me")
    return root


# -- the tar -------------------------------------------------------------------------------------------------


@given(
    st.binary(min_size=1, max_size=250).filter(lambda name: b"\0" not in name and not name.endswith(b"/")),
    st.integers(0, 2**40),
)
@settings(max_examples=300, deadline=None)
def test_headers_are_those_of_tarfile(name, size):
    info = tarfile.TarInfo(name.decode("utf-8", "surrogateescape"))
    info.size = size
    expected = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    ours = member_header(name, size)
    if len(name) <= 100:
        assert ours == expected
    else:  # tarfile cuts the short form of the name at another place, and gives the long one's header other fields
        assert len(ours) == len(expected)
    (read,) = tarfile.TarFile(fileobj=io.BytesIO(ours + bytes(1024))).getmembers() if size == 0 else (None,)
    assert read is None or os.fsencode(read.name) == name


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 10_240])
def test_padding(size):
    assert (size + len(padding(size))) % 512 == 0
    assert (size + len(padding(size)) + len(archive_end(size + len(padding(size))))) % 10_240 == 0


@pytest.mark.parametrize(("text", "size"), [("1GiB", 1 << 30), ("500M", 500 << 20), ("1.5k", 1536), ("77", 77)])
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "0", "1 X", "many"])
def test_sizes_that_arent(text):
    with pytest.raises(UsageError):
        parse_size(text)


# -- packing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"shard_bytes": 50_000}, {"shard_images": 7}, {"annotations": "packed"}])
def test_round_trip(regular, tmp_path, options):
    report = pack(regular, tmp_path / "packed", PackOptions(**options))
    assert report.complete
    assert report.problems == []
    assert (report.images, report.datasets) == (120, {"train": 40, "train/datasets/hard": 40, "test": 40})
    subprocess.run([COMMAND, "unpack", "-q", tmp_path / "packed", tmp_path / "again"], check=True, timeout=60)
    assert digest(tmp_path / "again") == digest(regular)
    done = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path / "packed/blob", check=True, capture_output=True
    )
    assert done.stdout.count(b": OK\n") == len(list((tmp_path / "packed/blob").glob("*.tar")))
    project = blobdir.open_project(tmp_path / "packed")
    assert project.defects == []
    if options == {"annotations": "packed"}:
        assert not list((tmp_path / "packed").rglob("ann/*"))
    if "shard_bytes" in options:
        assert len(report.blobs) > 20
        sizes = [path.stat().st_size for path in (tmp_path / "packed/blob").glob("*.tar")]
        assert max(sizes) < 50_000 + 40 * 1024 + 10_240


def test_the_same_input_gives_the_same_bytes(regular, tmp_path):
    copy = shutil.copytree(regular, tmp_path / "copy")
    for path in copy.rglob("*"):
        os.utime(path, (1, 1))
    pack(regular, tmp_path / "one", PackOptions(shard_images=9, processes=1))
    pack(copy, tmp_path / "two", PackOptions(shard_images=9, processes=3))
    assert digest(tmp_path / "one") == digest(tmp_path / "two")


def test_plain_folder(tmp_path):
    root = tmp_path / "birds"
    for i, path in enumerate(["red/angry/robin/a.png", "red/b.png", "blue/c.png", "top.png", "red/notes.txt"]):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(picture(i))
    report = pack(root, tmp_path / "packed")
    assert {problem.path: problem.code for problem in report.problems} == {"red/notes.txt": "name"}
    assert report.datasets == {"birds": 1, "blue": 1, "red": 2}
    project = blobdir.open_project(tmp_path / "packed")
    assert [tag["name"] for tag in project.meta["tags"]] == ["angry", "robin"]
    annotation = project["red"].annotation("a.png")
    assert [tag["name"] for tag in annotation["tags"]] == ["angry", "robin"]
    assert annotation["size"] == {"height": 6, "width": 8}
    assert project["red"].get_blob_img_bytes("a.png") == (root / "red/angry/robin/a.png").read_bytes()
    report = pack(root, tmp_path / "one", PackOptions(dataset="all"))
    assert report.datasets == {"all": 4}


@pytest.mark.parametrize(
    ("on_conflict", "names", "first"),
    [
        ("error", ["x.png"], "a/x.png"),
        ("skip", ["x.png"], "a/x.png"),
        ("replace", ["x.png"], "b/x.png"),
        ("rename", ["a_x.png", "b_x.png"], "a/x.png"),
    ],
)
def test_conflicts(tmp_path, on_conflict, names, first):
    root = tmp_path / "source"
    for i, folder in enumerate("ab"):
        (root / folder).mkdir(parents=True)
        (root / folder / "x.png").write_bytes(picture(i, (8 + i, 6)))
    report = pack(root, tmp_path / "packed", PackOptions(dataset="d", on_conflict=on_conflict))
    dataset = blobdir.open_project(tmp_path / "packed")["d"]
    assert dataset.names == names
    assert dataset.get_blob_img_bytes(names[0]) == (root / first).read_bytes()
    assert report.complete == (on_conflict == "rename")
    assert len(report.problems) == 1


def test_odd_files(regular, tmp_path):
    images = regular / "train/img"
    (images / "empty.png").write_bytes(b"")
    (images / "text.png").write_bytes(b"not an image")
    (images / "notes.txt").write_bytes(b"notes")
    (images / "large.jpg").write_bytes(JPEG + bytes(40 << 20))
    (images / "dangling.jpg").symlink_to("nowhere")
    os.mkfifo(images / "pipe.jpg")
    name = os.fsdecode(b"latin-\xe9.jpg")
    (images / name).write_bytes(JPEG)
    (images / ("y" * 250 + ".jpg")).write_bytes(JPEG)
    report = pack(regular, tmp_path / "packed")
    found = {
        problem.path.rpartition("/")[2]: problem.code for problem in report.problems if problem.code != "no-annotation"
    }
    assert found == {
        "empty.png": "empty",
        "text.png": "not-an-image",
        "notes.txt": "not-an-image-name",
        "dangling.jpg": "unreadable",
        "pipe.jpg": "unreadable",
    }
    assert not report.complete
    dataset = blobdir.open_project(tmp_path / "packed")["train"]
    for kept in ("empty.png", "text.png", "large.jpg", name, "y" * 250 + ".jpg"):
        assert dataset.get_blob_img_bytes(kept) == (images / kept).read_bytes()
    assert (tmp_path / "packed/train/img/notes.txt").read_bytes() == b"notes"


def test_files_that_shrink(tmp_path):
    """What is shorter when it's read than it was is left out; the archive stays whole."""
    from blobdir.packing.shards import Shard, write_shard
    from blobdir.tarwriting.reading import CHUNK_BYTES, stamp_of

    (tmp_path / "a.jpg").write_bytes(JPEG + b"a")
    (tmp_path / "z.jpg").write_bytes(JPEG + b"z")
    sizes = {"a.jpg": 4, "big.jpg": 3 * CHUNK_BYTES, "z.jpg": 4}
    (tmp_path / "big.jpg").write_bytes(JPEG + bytes(3 * CHUNK_BYTES - 3))
    real, calls = os.read, []

    def shrinking(descriptor, n):
        calls.append(n)
        if len(calls) == 3:
            os.truncate(tmp_path / "big.jpg", CHUNK_BYTES + 5)
        return real(descriptor, n)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "read", shrinking)
        names = TextColumn(sizes)
        stamps = array("q", [stamp_of((tmp_path / name).stat()) for name in sizes])
        shard = Shard("s", "d", str(tmp_path), names, names, array("q", sizes.values()), stamps=stamps)
        written, table = write_shard(shard, str(tmp_path / "s.tar"))
    assert table.names() == [b"a.jpg", b"z.jpg"]
    assert (written.members, written.member_bytes) == (2, 8)
    assert [code for code, _, _ in written.problems] == ["changed"]
    with tarfile.open(tmp_path / "s.tar") as tar:
        assert tar.getnames() == list(sizes)
        assert tar.extractfile("z.jpg").read() == JPEG + b"z"


def test_strict(regular, tmp_path):
    (regular / "train/img/empty.png").write_bytes(b"")
    with pytest.raises(PackError, match="--strict"):
        pack(regular, tmp_path / "packed", PackOptions(strict=True))
    assert not (tmp_path / "packed").exists()


def test_strict_does_not_stop_at_what_needs_no_mending(tmp_path):
    root = tmp_path / "source"
    for i, path in enumerate(["t/cat/0.png", "t/dog/0.png", ".git/x.png"]):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(picture(i))
    (root / "again").symlink_to(".")
    report = pack(root, tmp_path / "packed", PackOptions(strict=True))
    assert (report.found, report.images) == (2, 2)
    assert report.counts() == {"hidden": 1, "link-loop": 1, "renamed": 1}


def test_places_that_wont_do(regular, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(UsageError, match="is there already"):
        pack(regular, tmp_path / "there")
    with pytest.raises(UsageError, match="mkdir -p"):
        pack(regular, tmp_path / "none/x")
    with pytest.raises(NotAProjectError, match="no such folder"):
        pack(tmp_path / "none", tmp_path / "x")
    with pytest.raises(NotAProjectError, match="holds no image"):
        pack(tmp_path / "there", tmp_path / "x")
    pack(regular, tmp_path / "packed")
    with pytest.raises(UsageError, match="is a blob project already"):
        pack(tmp_path / "packed", tmp_path / "x")


def test_dry_run(regular, tmp_path):
    report = pack(regular, tmp_path / "packed", dry_run=True)
    assert report.images == 120
    assert not (tmp_path / "packed").exists()
    assert not (tmp_path / "packed.packing").exists()


def test_full_disk(regular, tmp_path):
    """A filesystem of two hundred kilobytes: an error, nothing at the place, and it goes on when there is room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "none", disk], check=False).returncode:
        pytest.skip("needs the right to mount")
    try:
        with pytest.raises(PackError, match="No space left on device"):
            pack(regular, disk / "packed", PackOptions(shard_images=5))
        assert not (disk / "packed").exists()
        subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)
        report = pack(regular, disk / "packed", PackOptions(shard_images=5), resume=True)
        assert report.complete
        pack(regular, tmp_path / "clean", PackOptions(shard_images=5))
        assert digest(disk / "packed") == digest(tmp_path / "clean")
    finally:
        subprocess.run(["umount", disk], check=True)


def test_killed_and_resumed(regular, tmp_path):
    """SIGKILL at any time: the place is empty or whole, and `--resume` ends with the same bytes."""
    options = ["--shard-images", "3", "--processes", "1", "-q"]
    subprocess.run([COMMAND, "pack", regular, tmp_path / "clean", *options], check=True, timeout=60)
    expected = digest(tmp_path / "clean")
    resumed, cut = 0, 0
    for delay in (0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6):
        target = tmp_path / f"at {delay}"
        process = subprocess.Popen([COMMAND, "pack", regular, target, *options], start_new_session=True)
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if target.exists():
            assert digest(target) == expected
            continue
        cut += 1
        if target.with_name(f"{target.name}.packing").exists():
            code = subprocess.run(
                [COMMAND, "pack", regular, target, *options], capture_output=True, check=False
            ).returncode
            assert code == 2
        done = subprocess.run(
            [COMMAND, "pack", regular, target, *options[:-1], "--resume", "--json"], capture_output=True, check=True
        )
        resumed += json.loads(done.stdout)["resumed"]
        assert digest(target) == expected
    assert cut > 0


def test_resume_notices_another_input(regular, tmp_path, monkeypatch):
    time.sleep(0.1)  # what was written just now could be written again within the same tick of its clock
    monkeypatch.setattr("blobdir.packing.packer.copy_files", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pack(regular, tmp_path / "packed", PackOptions(shard_images=10, processes=1))
    monkeypatch.undo()
    (regular / "train/img/ÿ.jpg").write_bytes(JPEG)
    (regular / "train/ann/ÿ.jpg.json").write_text("{}")
    report = pack(regular, tmp_path / "packed", PackOptions(shard_images=10, processes=1), resume=True)
    assert report.resumed == 12
    assert "ÿ.jpg" in blobdir.open_project(tmp_path / "packed")["train"].names


def test_the_command_says_what_is_missing(regular, tmp_path):
    (regular / "train/img/dangling.jpg").symlink_to("nowhere")
    done = subprocess.run([COMMAND, "pack", regular, tmp_path / "p"], capture_output=True, text=True, check=False)
    assert done.returncode == 7
    assert "unreadable: train/img/dangling.jpg" in done.stderr
    assert "121 images found, 120 packed" in done.stdout
