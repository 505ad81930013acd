"""What networks and servers do to a reader: he gets the right bytes a little later, or an error that says why."""

import random
import re
import shutil
import threading
import time
import warnings

import pytest
from faulty_proxy import FaultyProxy

import blobdir
from blobdir.errors import ReadError, SourceChangedError
from blobdir.sources import backend, retries


@pytest.fixture
def proxy(nginx, digits):
    www, plain, _ = nginx
    if not (www / "lemons").exists():
        shutil.copytree(digits, www / "lemons")
    made = FaultyProxy(int(plain.rpartition(":")[2]))
    yield made
    made.close()


@pytest.fixture
def quick(monkeypatch):
    """Shorter pauses, so that the tests are."""
    monkeypatch.setattr(retries, "PAUSE_S", 0.01)
    monkeypatch.setattr(retries, "LONGEST_PAUSE_S", 0.2)
    monkeypatch.setattr(backend, "STALL_S", 1.0)


@pytest.fixture
def opened(proxy, quick):
    return blobdir.open_project(f"{proxy.url}/lemons", cache_size=0, memory_size=0, timeout=15)


@pytest.fixture
def cached(proxy, quick, tmp_path):
    return blobdir.open_project(f"{proxy.url}/lemons", cache_dir=tmp_path / "cache", timeout=15)


PASSING = ["reset", "truncated", "short", "shifted", "stall", 500, 502, 503, 504, 429]


@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize("kind", ["opened", "cached"])
def test_faults_that_pass(request, kind, fault, proxy, digits_plain):
    project = request.getfixturevalue(kind)
    names = random.Random(1).sample(project["train"].names, 50)
    expected = [(digits_plain / "train/img" / name).read_bytes() for name in names]
    proxy.faults = [fault] * 2
    assert project["train"].get_blob_img_bytes(names[0]) == expected[0]
    proxy.faults += [fault]
    assert project["train"].read_many(names) == expected
    assert proxy.faults == [] or kind == "cached"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (403, "credentials are missing, wrong or expired"),
        (401, "credentials are missing, wrong or expired"),
        (400, "400"),
        ("whole", "doesn't serve byte ranges"),
        (404, "was removed"),
    ],
)
def test_faults_that_stay(opened, proxy, fault, message):
    name = opened["train"].names[0]
    proxy.always = fault
    began = time.monotonic()
    with pytest.raises(ReadError, match=message):
        opened["train"].get_blob_img_bytes(name)
    assert time.monotonic() - began < 5  # not tried again and again
    with pytest.raises(ReadError, match=message):
        opened["train"].read_many(opened["train"].names)


def test_replaced_blob_is_never_served(opened, proxy):
    name = opened["train"].names[0]
    proxy.always = "replaced"
    with pytest.raises(SourceChangedError, match="replaced or changed"):
        opened["train"].get_blob_img_bytes(name)
    with pytest.raises(SourceChangedError, match="replaced or changed"):
        opened["train"].read_many(opened["train"].names[:20])


@pytest.mark.parametrize("fault", ["stall", "truncated", "shifted", 503])
def test_nothing_outlives_its_deadline(proxy, quick, fault):
    project = blobdir.open_project(f"{proxy.url}/lemons", cache_size=0, timeout=3)
    names = project["train"].names
    proxy.always = fault
    began = time.monotonic()
    with pytest.raises(ReadError) as caught:
        project["train"].get_blob_img_bytes(names[0])
    assert "tries" in str(caught.value)
    assert fault != "stall" or int(re.search(r"(\d+) tries", str(caught.value))[1]) < 9  # each brings some bytes
    assert "blob/" in str(caught.value)
    assert "bytes" in str(caught.value)
    assert time.monotonic() - began < 9
    proxy.always = None
    assert project["train"].get_blob_img_bytes(names[0])


def test_server_that_is_down_for_a_while(cached, proxy, digits_plain):
    names = cached["train"].names
    assert cached["train"].get_blob_img_bytes(names[0])
    other = blobdir.open_project(f"{proxy.url}/lemons", cache_size=0, memory_size=0, timeout=15)
    proxy.down = True
    proxy.hang_up()
    back = threading.Timer(3, lambda: setattr(proxy, "down", False))
    back.start()
    began = time.monotonic()
    found = other["train"].read_many(names)
    assert time.monotonic() - began > 2
    assert found == [(digits_plain / "train/img" / name).read_bytes() for name in names]


def test_retry_after_is_heeded(opened, proxy):
    name = opened["train"].names[0]
    proxy.faults = [503]
    began = time.monotonic()
    assert opened["train"].get_blob_img_bytes(name)
    assert time.monotonic() - began >= 1


def test_listing_is_whole_or_an_error(proxy, quick):
    class Cut(list):
        pass

    proxy.down = True
    with pytest.raises(blobdir.BlobdirError):
        blobdir.open_project(f"{proxy.url}/lemons", timeout=3)


def test_a_server_that_never_answered_is_reported_soon(quick):
    began = time.monotonic()
    with pytest.raises(blobdir.BlobdirError, match="Connect"):
        blobdir.open_project("http://127.0.0.1:9/lemons")
    assert time.monotonic() - began < 10


def test_many_readers_make_one_request_a_block(proxy, tmp_path, digits_plain):
    project = blobdir.open_project(f"{proxy.url}/lemons", cache_dir=tmp_path / "cache")
    train, names = project["train"], project["train"].names
    proxy.delay_s = 0.05
    before = len(proxy.requests)
    wrong = []

    def read(seed):
        for name in random.Random(seed).sample(names, 40):
            expected = (digits_plain / "train/img" / name).read_bytes()
            wrong.extend([name] if train.get_blob_img_bytes(name) != expected else [])

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not wrong
    blobs = [line for line in proxy.requests[before:] if ".tar" in line]
    assert len(blobs) == len(set(blobs)) <= 3  # each block once


def test_a_cold_image_is_one_request(proxy, tmp_path):
    project = blobdir.open_project(f"{proxy.url}/lemons", cache_dir=tmp_path / "cache")
    name = project["train"].names[3]
    before = len(proxy.requests)
    assert project["train"].get_blob_img_bytes(name)
    assert len(proxy.requests) == before + 1
    assert project["train"].get_blob_img_bytes(name)
    assert len(proxy.requests) == before + 1


def test_secrets_are_not_in_messages(proxy, quick):
    proxy.down = True
    with warnings.catch_warnings(record=True) as told, pytest.raises(blobdir.BlobdirError) as caught:
        blobdir.open_project(f"{proxy.url}/lemons?sig=hunter2", timeout=2)
    assert "hunter2" not in str(caught.value) + "".join(str(w.message) for w in told)
