"""A backend that sends less of a file than there is: it's asked anew, and who gets no whole file gets an error."""

import os
from pathlib import Path

import pytest
from folder_bucket import Bucket, bucket

import blobdir
from blobdir import loosefiles
from blobdir.cli.app import run
from blobdir.errors import ShortReadError
from blobdir.loosefiles.remote import SMALL_FILE
from blobdir.moving import push

__all__ = ["bucket"]

PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 40
LABEL = b'{"description": "", "size": {"height": 1, "width": 1}, "tags": [], "objects": []}'
FILES = {
    "t/ann/a.png.json": LABEL,
    "t/masks_machine/a/m.png": PNG,
    "t/img/a.txt": b"a caption",
    "t/label_source.json": b'{"format": "coco"}',
    "meta.json": b'{"classes": [], "tags": [], "projectType": "images"}',
    "README.txt": b"what it is",
}
LARGE = "t/large.bin"


def opened():
    return blobdir.BlobDirFileSystem("tested://up", skip_instance_cache=True, index="none", cache_size=0)


def of_open(path):
    with opened().open(path) as file:
        return file.read()


def of_command(*arguments):
    def read(path, tmp_path):
        assert run([*arguments, str(tmp_path / "out")]) == 0
        return (tmp_path / "out" / path).read_bytes()

    return read


READERS = {
    "cat_file": lambda path: opened().cat_file(path),
    "a part": lambda path: opened().cat_file(path, 0, 1 << 40),
    "cat": lambda path: opened().cat([path, "t/img/a.png"])[path],
    "open": of_open,
    "read_version": lambda path: (fs := opened()).view.read_version(fs.view.find(path), 0, 1 << 40)[0],
}
COMMANDS = {
    "unpack": ["unpack", "-q", "tested://up"],
    "cp": ["cp", "-q", "-r", "tested://up"],
    "fetch": ["fetch", "-q", "tested://up"],
    "fetch some": ["fetch", "-q", "tested://up", "--glob", "t/*"],
}


@pytest.fixture
def there(bucket, tmp_path):
    for path, data in (FILES | {"t/img/a.png": PNG, LARGE: os.urandom(SMALL_FILE + 999)}).items():
        (tmp_path / "s" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "s" / path).write_bytes(data)
    blobdir.pack(tmp_path / "s", tmp_path / "p", blobdir.PackOptions(processes=1))
    push(tmp_path / "p", "tested://up", index=False)
    return tmp_path / "p"


def shorten(monkeypatch, path, times):
    """Have so many answers be half of the file."""
    real, left = Bucket.cat_file, [times]

    def cat_file(self, wanted, start=None, end=None, **options):
        data = real(self, wanted, start, end, **options)
        if wanted.endswith(path) and left[0]:
            left[0] -= 1
            return data[: len(data) // 2]
        return data

    monkeypatch.setattr(Bucket, "cat_file", cat_file)
    return left


@pytest.mark.parametrize("path", [*FILES, LARGE])
@pytest.mark.parametrize("how", READERS)
def test_reading(there, monkeypatch, how, path):
    whole = (there / path).read_bytes()
    read = READERS[how]
    assert read(path) == whole
    left = shorten(monkeypatch, path, 1)
    assert read(path) == whole
    assert left == [0]
    shorten(monkeypatch, path, -1)
    with pytest.raises(ShortReadError, match=r"the server sent [\d,]+ bytes of [\d,]+, again and again"):
        read(path)


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("how", COMMANDS)
def test_copying(there, tmp_path, monkeypatch, capsys, how, path):
    whole = (there / path).read_bytes()
    if how != "fetch":  # which says that it has changed, and --resume gets it
        shorten(monkeypatch, path, 1)
    assert run([*COMMANDS[how], str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / path).read_bytes() == whole
    shorten(monkeypatch, path, -1)
    capsys.readouterr()
    assert run([*COMMANDS[how], str(tmp_path / "again")]) == 7
    assert path in capsys.readouterr().err
    assert not (tmp_path / "again" / path).exists()


@pytest.mark.parametrize("how", READERS)
def test_one_that_has_become_shorter(there, bucket, monkeypatch, how):
    """What was listed is of another time, and says nothing of now."""
    real = loosefiles.loose_files

    def then(*args):
        made = real(*args)
        (Path(bucket) / "README.txt").write_bytes(b"less")
        return made

    monkeypatch.setattr("blobdir.tree.loose_files", then)
    assert READERS[how]("README.txt") == b"less"


@pytest.mark.parametrize("how", COMMANDS)
def test_one_that_goes_meanwhile(there, bucket, tmp_path, capsys, how):
    """Which one it was is said in words."""
    path = "t/ann/a.png.json"

    def before(what, wanted):
        if what == "read" and wanted.endswith(path) and (bucket / path).exists():
            (bucket / path).unlink()

    Bucket.before = staticmethod(before)
    assert run([*COMMANDS[how], str(tmp_path / "out")]) == 7
    said = capsys.readouterr().err
    assert path in said
    assert "was changed while it was " in said or "is listed, but isn't there" in said


def test_no_request_more(there):
    fs = opened()
    Bucket.calls.clear()
    fs.cat([*FILES])
    assert {what for what, _ in Bucket.calls} == {"read"}
    assert len(Bucket.calls) == len(FILES)
