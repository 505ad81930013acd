"""What a try that was cut off has left, in which somebody has put something else in a file's place since."""

import os
import shutil
import signal
import socket
from contextlib import suppress

import pytest
from folder_bucket import files

from blobdir import moving
from blobdir.errors import ReadError, UsageError
from blobdir.moving import fetch, pack_to, push
from blobdir.packing import pack
from blobdir.packing.newfolder import NewFolder

URL = "tested://up"
SECONDS = 60
VICTIM = b"somebody's" * 1000


def cut_off(*_):
    raise ReadError("cut off")


def pipe(path, victim):
    os.mkfifo(path)


def folder(path, victim):
    path.mkdir()
    (path / "x").write_text("x")


def link(path, victim):
    path.symlink_to(victim)


def link_nowhere(path, victim):
    path.symlink_to(victim.with_name("nowhere"))


def hard_link(path, victim):
    os.link(victim, path)


def unix_socket(path, victim):
    with socket.socket(socket.AF_UNIX) as one, suppress(OSError):
        here = os.getcwd()
        os.chdir(path.parent)  # a path can be longer than a socket's
        try:
            one.bind(path.name)
        finally:
            os.chdir(here)


THINGS = (pipe, folder, link, link_nowhere, hard_link, unix_socket)


@pytest.fixture(autouse=True)
def impatient():
    """Nothing is waited for."""

    def stop(*_):
        raise AssertionError("waited for ever")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def victim(tmp_path):
    path = tmp_path / "victim"
    path.write_bytes(VICTIM)
    return path


def fetching(bucket, small, tmp_path, monkeypatch):
    push(small, URL)
    with monkeypatch.context() as patch:
        patch.setattr(NewFolder, "publish", cut_off)
        with pytest.raises(ReadError, match="cut off"):
            fetch(URL, tmp_path / "made")
    return tmp_path / "made.fetching", lambda: fetch(URL, tmp_path / "made", resume=True), tmp_path / "made"


def packing(bucket, small, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(NewFolder, "publish", cut_off)
        with pytest.raises(ReadError, match="cut off"):
            pack(tmp_path / "plain", tmp_path / "made")
    return (
        tmp_path / "made.packing",
        lambda: pack(tmp_path / "plain", tmp_path / "made", resume=True),
        tmp_path / "made",
    )


def packing_there(bucket, small, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(moving.packed._Uploads, "upload", cut_off)
        with pytest.raises(ReadError, match="cut off"):
            pack_to(tmp_path / "plain", URL)
    (stage,) = (tmp_path / "cache/blobdir/packing").iterdir()
    (blob,) = (path.name for path in small.glob("blob/train-0*.tar"))
    (stage / "uploaded" / moving.packed._name_of(f"blob/{blob}")).touch()
    (stage / "there.jsonl").touch()
    return stage, lambda: pack_to(tmp_path / "plain", URL, resume=True), bucket


def pushing(bucket, small, tmp_path, monkeypatch):
    push(small, URL)
    return tmp_path / "cache/blobdir/pushed", lambda: push(small, URL, resume=True), bucket


PLACES = {
    fetching: (
        "train/ann/1.jpg.json",
        "meta.json",
        "train",
        "train/ann",
        "blob/t*.tar",
        ".blobdir/fetching/place",
        ".blobdir/fetching/small.jsonl",
        ".blobdir/fetching/small",
        ".blobdir/fetching/[0-9a-f]*[0-9a-f]",
    ),
    packing: ("blob/t*.tar", "train/*_offsets.pkl", "train", ".blobdir/packing/*.json", "train/ann/1.jpg.json"),
    packing_there: (
        "project.packing/blob/*.tar",
        "project.packing/.blobdir/packing/*.json",
        "project.packing",
        "there.jsonl",
        "rest.json",
        "uploaded",
        "uploaded/*",
    ),
    pushing: ("*.jsonl",),
}


@pytest.mark.parametrize("thing", THINGS)
@pytest.mark.parametrize(("left", "place"), [(left, place) for left in PLACES for place in PLACES[left]])
def test_what_is_no_file_of_its_own_is_made_anew(bucket, small, tmp_path, monkeypatch, victim, left, place, thing):
    """It's never waited for, and what it leads to is neither read nor written."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    work, resume, made = left(bucket, small, tmp_path, monkeypatch)
    path = min(work.glob(place), default=work / place)
    with suppress(FileNotFoundError):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    thing(path, victim)
    if (thing, place) == (folder, "project.packing"):  # nobody knows what is in it
        with pytest.raises(UsageError, match="is in the way"):
            resume()
        shutil.rmtree(path)
    resume()
    assert files(made) == files(small)
    assert not [path for path in made.rglob("*") if path.is_symlink() or (path.is_file() and path.stat().st_nlink > 1)]
    assert victim.read_bytes() == VICTIM


@pytest.mark.parametrize("thing", THINGS)
@pytest.mark.parametrize("left", [fetching, packing])
@pytest.mark.parametrize("place", [".blobdir", ".blobdir/{}"])
def test_where_the_folder_of_notes_is_something_else_it_is_named(
    bucket, small, tmp_path, monkeypatch, victim, left, place, thing
):
    """Nobody knows then whose work it is."""
    work, resume, made = left(bucket, small, tmp_path, monkeypatch)
    path = work / place.format(left.__name__)
    shutil.rmtree(path)
    thing(path, victim)
    if thing is folder:
        return
    with pytest.raises(UsageError, match="is in the way"):
        resume()
    assert not made.exists()
    shutil.rmtree(work)  # as the message says
    resume()
    assert files(made) == files(small)
