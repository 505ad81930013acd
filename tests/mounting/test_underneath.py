"""What happens to a mount when the project changes underneath."""

from __future__ import annotations

import errno
import os
import subprocess
import tarfile
import threading
import time
from pathlib import Path

import pytest
from blob_builder import Builder

import blobdir
from blobdir.mounting import statuses

ENGINES = ["native", "fusepy"]
PATIENCE_S = 1.5


def status_of(place):
    return next(status for status in statuses() if status.record.mountpoint == str(place))


def wait_until(true, seconds=10.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def forget_pages(path):
    """Have the kernel ask again for a file's bytes."""
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


@pytest.mark.parametrize("engine", ENGINES)
def test_edited_annotations(mount, own, place, engine):
    mount(own.project, engine=engine)
    ours, theirs = place / "train/ann/size_0000512.jpg.json", own.project / "train/ann/size_0000512.jpg.json"
    for text in ('{"size": "longer than before", "objects": [1, 2, 3]}', "{}", '{"a": 1}', '{"b": 2}'):
        assert ours.read_text() != text
        theirs.write_text(text)  # in place, the last two of the same size
        wait_until(lambda text=text: ours.read_text() == text, PATIENCE_S)
        wait_until(lambda text=text: ours.stat().st_size == len(text), PATIENCE_S)
    part = theirs.with_name("part")
    part.write_text('{"replaced": true}')
    os.replace(part, theirs)  # as editors do
    wait_until(lambda: ours.read_text() == '{"replaced": true}', PATIENCE_S)
    theirs.unlink()
    wait_until(lambda: not ours.exists(), PATIENCE_S)
    with pytest.raises(FileNotFoundError):
        ours.read_text()


def test_a_file_that_becomes_a_link_out_of_the_project(mount, own, place, tmp_path):
    """What a project's files lead to later isn't read either."""
    (tmp_path / "secret").write_text("secret")
    mount(own.project)
    theirs = own.project / "notes.txt"
    theirs.unlink()
    theirs.symlink_to(tmp_path / "secret")
    time.sleep(PATIENCE_S)
    with pytest.raises(OSError, match="symbolic links|No such file"):
        (place / "notes.txt").read_text()
    folder = own.project / "empty/deep/er"
    (folder / "file").unlink()
    folder.rmdir()
    (tmp_path / "file").write_text("secret too")
    folder.symlink_to(tmp_path)
    time.sleep(PATIENCE_S)
    with pytest.raises(OSError, match="symbolic links|No such file"):
        (place / "empty/deep/er/file").read_text()


def test_links_out_of_the_project_are_links(mount, own, place, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("outside")
    (own.project / "out").symlink_to(tmp_path / "outside")
    (own.project / "out-file").symlink_to(tmp_path / "outside/file")
    mount(own.project)
    assert os.readlink(place / "out") == str(tmp_path / "outside")
    assert (place / "out").is_symlink()
    assert (place / "out-file").is_symlink()


def test_links_are_followed_if_asked(own, place, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("outside")
    (own.project / "out").symlink_to(tmp_path / "outside")
    options = blobdir.MountOptions(discovery=blobdir.mounting.DiscoveryOptions(follow_links=True))
    with blobdir.mount(own.project, place, options=options):
        assert not (place / "out").is_symlink()
        assert (place / "out/file").read_text() == "outside"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_blob_cut_short(own, place, tmp_path, engine):
    """Members that are no longer whole are EIO and a line in the log; the others are served."""
    log = tmp_path / "log"
    with blobdir.mount(own.project, place, engine=engine, log=str(log)):
        index = blobdir.open_project(own.project, index="none").tree.index
        tree = blobdir.open_project(own.project, index="none").tree
        names = contents_of(own, "b")
        middle = names[len(names) // 2]
        cut = int(index.offset[tree.find(f"train/img/{middle}")]) + 3
        os.truncate(own.blobs["b"], cut)
        lost = 0
        for name in names:
            path, expected = place / "train/img" / name, (own.plain / "train/img" / name).read_bytes()
            row = tree.find(f"train/img/{name}")
            if int(index.offset[row]) + len(expected) <= cut or not expected:
                assert path.read_bytes() == expected
                continue
            lost += 1
            with pytest.raises(OSError, match="Input/output error"):
                path.read_bytes()
            assert path.stat().st_size == len(expected)
        assert lost > 10
        assert any("blob/b.tar was replaced, or overwritten" in sentence for sentence in status_of(place).changed)
        assert status_of(place).counters["errors"] >= lost
        wait_until(lambda: "it is truncated, or the offsets are of another one" in log.read_text())
        assert f"train/img/{middle}" in log.read_text()
        assert log.read_text().count("truncated") <= 60


def contents_of(own, stem):
    with tarfile.open(own.blobs[stem]) as tar:
        return [name for name in tar.getnames() if (own.plain / "train/img" / name).exists()]


@pytest.mark.parametrize("how", ["replaced", "removed", "renamed"])
def test_another_blob_in_its_place(mount, own, place, tmp_path, how):
    """The one of the time of mounting is served, also by workers that start later."""
    mount(own.project)
    other = Builder(tmp_path / "other").tar("b", {"other": b"other" * 100_000})
    assert other
    if how == "replaced":
        os.replace(tmp_path / "other/blob/b.tar", own.blobs["b"])
    elif how == "removed":
        own.blobs["b"].unlink()
    else:
        own.blobs["b"].rename(own.project / "elsewhere")
    pid = status_of(place).record.pid
    workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    subprocess.run(["kill", "-9", *workers], check=True)
    for file in (own.plain / "train/img").iterdir():
        assert (place / "train/img" / file.name).read_bytes() == file.read_bytes(), file.name
    said = status_of(place).changed
    assert any("blob/b.tar" in sentence and ("served" in sentence or "was mounted" in sentence) for sentence in said)


def test_status_says_that_names_have_changed(mount, own, place):
    mount(own.project)
    assert status_of(place).changed == []
    (own.project / "train/ann/new.json").write_text("{}")
    assert status_of(place).changed == ["train/ann has changed: names are those of the time of mounting"]
    assert not (place / "train/ann/new.json").exists()


def test_broken_parts_are_errors_and_the_rest_is_served(tmp_path, place):
    made = Builder(tmp_path / "p")
    made.blob("train", "good", {"a.jpg": b"good"})
    made.blob("train", "lost", {"b.jpg": b"lost"})
    (made.root / "blob/lost.tar").unlink()
    made.blob("test", "cut", {"c.jpg": b"c"})
    pickle = made.root / "test/cut_offsets.pkl"
    pickle.write_bytes(pickle.read_bytes()[:-5])
    with pytest.warns(blobdir.BlobdirWarning):
        blobdir.open_project(made.root)
    with blobdir.mount(made.root, place):
        assert (place / "train/img/a.jpg").read_bytes() == b"good"
        assert sorted(os.listdir(place / "train/img")) == ["a.jpg", "b.jpg"]
        with pytest.raises(OSError, match="Input/output error"):
            (place / "train/img/b.jpg").read_bytes()
        with pytest.raises(OSError, match="Input/output error"):
            os.listdir(place / "test/img")


@pytest.mark.parametrize("engine", ENGINES)
def test_readers_while_annotations_are_edited(mount, own, place, engine):
    """A reader sees a whole file, never one cut at the size of another version, or an error if it met the change."""
    mount(own.project, engine=engine)
    ours, theirs = place / "train/ann/size_0000512.jpg.json", own.project / "train/ann/size_0000512.jpg.json"
    versions = [bytes([65 + i]) * (3000 + 500 * i) for i in range(8)]
    stop, odd, errors, reads = threading.Event(), [], 0, 0

    def edit():
        for i in range(10_000):
            if stop.is_set():
                return
            part = theirs.with_name("part")
            part.write_bytes(versions[i % 8])
            os.replace(part, theirs)
            time.sleep(0.05)

    editor = threading.Thread(target=edit)
    editor.start()
    end = time.monotonic() + 4
    while time.monotonic() < end:
        reads += 1
        try:
            data = ours.read_bytes()
        except OSError as error:
            assert error.errno in (errno.EIO, errno.ESTALE)
            errors += 1
            continue
        if data not in versions and data != b'{"size": {}, "objects": []}':
            odd.append((len(data), data[:50]))
        time.sleep(0.002)
    stop.set()
    editor.join()
    assert odd == []
    assert errors < reads / 2


@pytest.mark.parametrize("engine", ENGINES)
def test_a_disk_that_goes_away_is_an_error(own, tmp_path, place, engine):
    """And not files that aren't there. When it's back, so is all."""
    disk, label, image = tmp_path / "disk", "train/ann/size_0000512.jpg.json", "train/img/size_0000512.jpg"
    disk.mkdir()
    bind, unbind = ["mount", "--bind", own.project.parent, disk], ["umount", "--lazy", disk]
    names = sorted(os.listdir(own.plain / "train/img"))
    log, was = tmp_path / "log", os.lstat(own.project / "empty/deep/er")
    subprocess.run(bind, check=True, timeout=20)
    is_there = True
    try:
        with blobdir.mount(disk / own.project.name, place, engine=engine, log=log):
            data = (place / label).read_bytes()
            assert data == (own.plain / label).read_bytes()
            assert status_of(place).changed == []
            assert sorted(os.listdir(place / "train/img")) == names
            subprocess.run(unbind, check=True, timeout=20)
            is_there = False
            time.sleep(PATIENCE_S)
            for ask in (os.stat, lambda path: os.close(os.open(path, os.O_RDONLY))):
                for path in (label, "train/img/plain.png", "meta.json", "notes.txt"):
                    with pytest.raises(OSError, match="Input/output error") as caught:
                        ask(place / path)
                    assert caught.value.errno == errno.EIO
            for never_looked_at in ("train/ann/size_0000513.jpg.json", "empty/deep/er/file", "to train"):
                with pytest.raises(OSError, match="Input/output error"):
                    os.lstat(place / never_looked_at)
            folder = os.lstat(place / "empty/deep/er")  # as it was
            assert (folder.st_mtime_ns, folder.st_mode) == (was.st_mtime_ns, was.st_mode & ~0o222)
            with pytest.raises(FileNotFoundError):
                os.stat(place / "train/ann/none.json")
            assert sorted(os.listdir(place / "train/img")) == names
            assert (place / image).read_bytes() == (own.plain / image).read_bytes()  # its blob is held open
            assert f"{label}: isn't there, and nor is the project" in log.read_text()
            (said,) = status_of(place).changed
            assert "was its disk taken away?" in said and str(disk) in said
            subprocess.run(bind, check=True, timeout=20)
            is_there = True
            wait_until((place / label).exists)
            assert (place / label).read_bytes() == data
            assert status_of(place).changed == []
            for path in ("empty/deep/er", "to train"):
                now, wanted = os.lstat(place / path), os.lstat(own.project / path)
                assert (now.st_mtime_ns, now.st_uid) == (wanted.st_mtime_ns, wanted.st_uid)
            (own.project / label).unlink()
            time.sleep(PATIENCE_S)
            with pytest.raises(FileNotFoundError):
                os.stat(place / label)
    finally:
        if is_there:
            subprocess.run(unbind, check=True, timeout=20)


@pytest.mark.parametrize("name", [b"latin-\xe9\xff.jpg", "日本 ü.jpg".encode(), b"two\nlines.jpg"], ids=repr)
@pytest.mark.parametrize("engine", ENGINES)
def test_names_of_any_bytes_are_whole_in_the_log(tmp_path, place, engine, name):
    builder, log = Builder(tmp_path / "project"), tmp_path / "log"
    (entry,) = builder.tar("a", {os.fsdecode(name): b"x" * 5000})
    builder.offsets("train", "a", [(name, *entry[1:])])
    builder.loose("meta.json", b"{}")
    with blobdir.mount(tmp_path / "project", place, engine=engine, log=str(log)):
        os.truncate(tmp_path / "project/blob/a.tar", 600)
        with pytest.raises(OSError, match="Input/output error"):
            (place / "train/img" / os.fsdecode(name)).read_bytes()
    lines = [line for line in log.read_bytes().splitlines() if b" ERROR: " in line]
    shown = name.replace(b"\n", b"\\x0a").decode(errors="backslashreplace").encode()
    assert lines
    for line in lines:
        said = line.partition(b" ERROR: ")[2]
        assert said.lower().startswith(
            b"read train/img/" + shown.lower() + b": train/img/" + shown.lower() + b": bytes"
        )


@pytest.mark.parametrize("engine", ENGINES)
def test_a_label_that_was_away_when_it_was_looked_at(mount, own, place, tmp_path, engine):
    """As by an editor, or ``git checkout``: that it isn't there isn't remembered."""
    mount(own.project, engine=engine)
    for path in ("train/ann/size_0000512.jpg.json", "meta.json", "empty/deep/er/file"):
        ours, theirs = place / path, own.project / path
        data = theirs.read_bytes()
        theirs.rename(tmp_path / "aside")
        for _ in range(2):
            with pytest.raises(FileNotFoundError):
                os.stat(ours)
        (tmp_path / "aside").rename(theirs)
        wait_until(ours.exists, PATIENCE_S)
        assert ours.read_bytes() == data
