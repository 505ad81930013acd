"""``blobdir index --beside`` in a bucket, while somebody else changes the project there: no old index is believed."""

import os
import random
import shutil
import warnings
from contextlib import suppress
from pathlib import Path

import fsspec
import pytest
from folder_bucket import Bucket, files
from moving.test_two_pushes import bytes_shown

from blobdir.discovery import DiscoveryOptions
from blobdir.errors import BlobdirError, BusyError
from blobdir.moving import push
from blobdir.moving.indexing import index_beside
from blobdir.packing import remove
from blobdir.sources import open_storage

URL = "tested://up"
MARK, INDEX = ".blobdir/indexing.json", ".blobdir/index.tar"


class Once(Bucket):
    """A bucket that can write a file only if there is none."""

    protocol = "tested"
    creates = True

    def _entry(self, path):
        entry = super()._entry(path)
        if Bucket.etags and entry["type"] == "file":  # the same for a bucket that was put back
            entry["ETag"] = f"{os.stat(os.path.join(Bucket.root, path)).st_mtime_ns}-{entry['size']}"
        return entry

    def pipe_file(self, path, value, **options):
        if not self.creates or options.get("mode") != "create":
            super().pipe_file(path, value, **options)
            return
        at = self._at("write", path)  # all in one step
        if os.path.exists(at):
            raise FileExistsError(path)
        os.makedirs(os.path.dirname(at), exist_ok=True)
        Path(at).write_bytes(value)


@pytest.fixture
def pushed(bucket, small, tmp_path, monkeypatch):
    """A project in a bucket, and where it came from, of which an image was removed since."""
    fsspec.register_implementation("tested", Once, clobber=True)
    monkeypatch.setattr(Once, "creates", True)
    push(small, URL)
    shutil.copytree(bucket, tmp_path / "old")
    remove(small, ["train/3.jpg"])
    yield bucket, small
    fsspec.register_implementation("tested", Bucket, clobber=True)


def edit(bucket, small):
    (bucket / "train/ann/2.jpg.json").unlink()


CHANGES = {
    "push": lambda bucket, small: push(small, URL, delete=True),
    "push --no-index": lambda bucket, small: push(small, URL, delete=True, index=False),
    "edit": edit,
    "push that goes on": lambda bucket, small: [
        (bucket / ".blobdir/pushing.json").write_text("{}"),
        (bucket / "meta.json").unlink(),
    ],
}
WAYS = {
    "index": lambda small: index_beside(open_storage(URL), DiscoveryOptions()),
    "push again": lambda small: push(small, URL, delete=True),
}


def meeting(change, at, lost_at=1 << 30):
    """Have something happen in front of one request, and nothing be answered from another one on."""
    count, inside = [0], []

    def before(what, path):
        if inside:
            return
        count[0] += 1
        if count[0] - 1 == at:
            inside.append(1)
            with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
                patch.setenv("XDG_CACHE_HOME", f"{Bucket.root}-other-machine")
                warnings.simplefilter("ignore")
                change()
            inside.clear()
        if count[0] > lost_at:
            raise PermissionError("lost")

    Bucket.before = staticmethod(before)
    return count


def at_peace():
    Bucket.before = staticmethod(lambda what, path: None)


def reset(bucket, tmp_path):
    shutil.rmtree(bucket)
    shutil.copytree(tmp_path / "old", bucket)


def believed(bucket):
    return (
        (bucket / INDEX).exists() and not (bucket / MARK).exists() and not (bucket / ".blobdir/pushing.json").exists()
    )


def judge(bucket, tmp_path, monkeypatch):
    """Who opens the project sees what is there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"cache{random.random()}"))
    if not believed(bucket):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        auto, none = (fsspec.filesystem("blobdir", fo=URL, skip_instance_cache=True, index=i) for i in ("auto", "none"))
        assert auto.find("") == none.find("")
    assert bytes_shown(URL, "auto") == bytes_shown(URL, "none")


def test_alone(pushed, tmp_path, monkeypatch):
    bucket, _ = pushed
    for _ in range(2):
        index_beside(open_storage(URL), DiscoveryOptions())
        assert believed(bucket)
        judge(bucket, tmp_path, monkeypatch)
        (bucket / MARK).write_text("{}")  # of one that was killed
    assert push(tmp_path / "small", URL, delete=True).complete
    assert not (bucket / MARK).exists()


@pytest.mark.parametrize("creates", [True, False])
@pytest.mark.parametrize("etags", [True, False])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_at_any_request(pushed, tmp_path, monkeypatch, change, etags, creates):
    bucket, small = pushed
    Bucket.etags, Once.creates = etags, creates
    number, happened = 0, True
    while happened:
        reset(bucket, tmp_path)
        count = meeting(lambda: CHANGES[change](bucket, small), number)
        try:
            WAYS["index"](small)
            ended = True
        except BlobdirError:
            ended = False
        happened = count[0] > number
        at_peace()
        if change != "edit" or not ended:  # an edit that comes after the last look is seen by nobody
            judge(bucket, tmp_path, monkeypatch)
        assert not (bucket / MARK).exists()
        assert not happened or not change.startswith("push -") or not ended or files(bucket) == files(small)
        number += 1
    assert ended
    assert believed(bucket)
    assert number > 10


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("change", ["edit", "push"])
def test_who_is_cut_off_after_a_change(pushed, tmp_path, monkeypatch, change, way):
    """A kill leaves no old index that is believed, whatever has happened before."""
    bucket, small = pushed
    old = shutil.copytree(small, tmp_path / "again", ignore=shutil.ignore_patterns(".blobdir"))
    reset(bucket, tmp_path)
    if way == "push again":
        push(old, URL, delete=True)
        shutil.rmtree(tmp_path / "old")
        shutil.copytree(bucket, tmp_path / "old")
        remove(small, ["val/2.jpg"])
    run = WAYS[way]
    total = meeting(lambda: None, -1)
    run(old if way == "push again" else small)
    total = total[0]
    at_peace()
    calls = Bucket.calls[-total:]
    assert ("write", "up/meta.json") not in calls
    first, written = (calls.index(("write", f"up/{path}")) for path in (MARK, INDEX))
    last = total - 1 if change == "push" else written  # an edit after the last look is seen by nobody
    for number in range(first, last + 1):
        for lost in range(number + 1, min(number + 9, total), 2):
            at_peace()
            reset(bucket, tmp_path)
            meeting(lambda: CHANGES[change](bucket, small), number, lost)
            with suppress(BlobdirError):
                run(old if way == "push again" else small)
                continue  # there was nothing left to be cut off
            at_peace()
            judge(bucket, tmp_path, monkeypatch)


def test_an_index_that_is_made_at_any_request_of_a_push(pushed, tmp_path, monkeypatch):
    """The push ends, and nobody needs to push again; or it's told, and the place isn't taken for whole."""
    bucket, small = pushed
    count = meeting(lambda: None, -1)
    push(small, URL, delete=True)
    (total,) = count

    def make_index():
        with suppress(BlobdirError):
            index_beside(open_storage(URL), DiscoveryOptions())

    for number in (*range(0, total - 10, 8), *range(total - 10, total)):  # at the end one thing follows another
        at_peace()
        reset(bucket, tmp_path)
        meeting(make_index, number)
        with suppress(BusyError):
            assert push(small, URL, delete=True).complete
        at_peace()
        judge(bucket, tmp_path, monkeypatch)
        assert not (bucket / ".blobdir/pushing.json").exists(), number
        assert files(bucket) == files(small)
