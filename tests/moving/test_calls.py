"""Requests that moving a project costs: a few for each file, and listings by folders. Requests cost time and money."""

import shutil
from collections import Counter

import fsspec
import pytest
from folder_bucket import Bucket, files
from fsspec.implementations.memory import MemoryFileSystem

from blobdir.moving import fetch, push

URL = "tested://up"


def more_files(project, count):
    for i in range(count):
        (project / "train/ann" / f"more{i}.json").write_text(f'{{"of": {i}}}')


def folders(project):
    return 1 + sum(path.is_dir() for path in project.rglob("*"))


def counted(original, called):
    def method(self, *args, **kwargs):
        called[original.__name__] += 1
        return original(self, *args, **kwargs)

    return method


def calls_of(what):
    Bucket.calls.clear()
    what()
    return Counter(call for call, _ in Bucket.calls)


@pytest.mark.parametrize("etags", [True, False])
def test_calls_for_each_file(bucket, small, tmp_path, etags):
    """So many more files cost so many more calls, and not one more listing."""
    Bucket.etags = etags
    counts = {}
    for extra in (0, 100):
        more_files(small, extra)
        shutil.rmtree(bucket, ignore_errors=True)
        pushed = calls_of(lambda: push(small, URL))
        again = calls_of(lambda: push(small, URL, resume=True))
        fetched = calls_of(lambda extra=extra: fetch(URL, tmp_path / f"got{extra}"))
        assert files(tmp_path / f"got{extra}") == files(small)
        assert max(pushed["ls"], again["ls"], fetched["ls"]) <= 4 * folders(small)
        counts[extra] = pushed, again, fetched
    pushed, again, fetched = (Counter(counts[100][i]) - Counter(counts[0][i]) for i in range(3))
    assert pushed == {"write": 100, "info": 100}  # the version of what was uploaded, which no listing tells surely
    assert again - Counter(read=200) == {}  # at most compared
    assert fetched == {"read": 100}


@pytest.mark.parametrize("kind", ["s3", "azure"])
def test_calls_for_each_object(request, small, tmp_path, monkeypatch, kind):
    """A bucket that says checksums is asked for nothing but the bytes."""
    options = request.getfixturevalue(kind)
    protocol, name = {"s3": "s3", "azure": "abfs"}[kind], f"calls{abs(hash(tmp_path.name))}"
    fs = fsspec.filesystem(protocol, **options)
    fs.mkdir(name)
    called = Counter()
    for method in ("_info", "_exists", "_ls", "_find", "_pipe_file", "_cat_file", "_rm_file", "_put_file"):
        monkeypatch.setattr(type(fs), method, counted(getattr(type(fs), method), called))
    counts = {}
    for extra in (0, 60):
        more_files(small, extra)
        called.clear()
        push(small, f"{protocol}://{name}/p{extra}", storage_options=options)
        counts[extra] = Counter(called)
    assert counts[60] - counts[0] == {"_pipe_file": 60}


@pytest.mark.parametrize("count", [300])
def test_memory_is_not_asked_to_look_at_all_names(small, tmp_path, monkeypatch, count):
    """Its `info` does, so a project would take quadratic time."""
    more_files(small, count)
    url = f"memory://calls-{abs(hash(tmp_path.name))}/p"
    called = Counter()
    for method in ("info", "ls"):
        monkeypatch.setattr(MemoryFileSystem, method, counted(getattr(MemoryFileSystem, method), called))
    push(small, url)
    push(small, url, resume=True)
    push(small, url, force=True)
    fetch(url, tmp_path / "got")
    assert files(tmp_path / "got") == files(small)
    assert called["info"] < 60, called
    assert called["ls"] < 20 * folders(small), called
