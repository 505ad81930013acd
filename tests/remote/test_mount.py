"""A remote project mounted: ordinary files, one fetch for all workers, errors that are EIO and pass by themselves."""

import errno
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest
from faulty_proxy import FaultyProxy

import blobdir
from blobdir.mounting import MountOptions, statuses
from blobdir.sources import RemoteOptions
from blobdir.testing.deadline import Deadline


@pytest.fixture(autouse=True)
def mounts_end(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("BLOBDIR_STATE_DIR", str(tmp_path_factory.mktemp("state")))
    with Deadline(120, tmp_path_factory.getbasetemp()):
        yield


@pytest.fixture
def proxy(nginx, digits):
    www, plain, _ = nginx
    if not (www / "lemons").exists():
        shutil.copytree(digits, www / "lemons")
    made = FaultyProxy(int(plain.rpartition(":")[2]))
    yield made
    made.close()


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "mnt"
    folder.mkdir()
    return folder


def test_the_same_as_plain_files(remote, digits_plain, place, tmp_path):
    url, options, reachable = remote
    if not reachable:
        return  # memory:// is a process's own
    with blobdir.mount(url, place, storage_options=options, remote=RemoteOptions(tmp_path / "cache")):
        done = subprocess.run(["diff", "-r", place, digits_plain], capture_output=True, timeout=100, check=False)
        assert (done.returncode, done.stdout) == (0, b"")
        assert (place / "train/img/0_000010.png").stat().st_size > 0
        sizes = {name: os.path.getsize(place / "train/ann" / name) for name in os.listdir(place / "train/ann")}
    assert sizes == {p.name: p.stat().st_size for p in (digits_plain / "train/ann").iterdir()}


@pytest.mark.parametrize("cache_size", ["64MiB", "0"])
def test_many_readers_and_few_requests(proxy, digits_plain, place, tmp_path, cache_size):
    names = sorted(os.listdir(digits_plain / "train/img"))
    proxy.delay_s = 0.02

    def read(seed):
        order = random.Random(seed).sample(names, len(names))
        return all(
            (place / "train/img" / n).read_bytes() == (digits_plain / "train/img" / n).read_bytes() for n in order
        )

    options = RemoteOptions(tmp_path / "cache", cache_size)
    with blobdir.mount(f"{proxy.url}/lemons", place, remote=options, workers=3):
        before = len(proxy.requests)
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(read, range(8)))
        blobs = [line for line in proxy.requests[before:] if ".tar" in line]
    assert len(blobs) <= (4 if cache_size != "0" else 12)  # without a disk each worker has its own memory


def test_errors_are_eio_and_pass(proxy, digits_plain, place, tmp_path):
    log = tmp_path / "log"
    options = RemoteOptions(tmp_path / "cache", timeout=2)
    with blobdir.mount(f"{proxy.url}/lemons", place, remote=options, log=str(log), engine="native"):
        name = min(os.listdir(place / "train/img"))
        expected = (digits_plain / "train/img" / name).read_bytes()
        proxy.down = True
        proxy.hang_up()
        began = time.monotonic()
        with pytest.raises(OSError, match=".") as caught:
            (place / "train/img" / name).read_bytes()
        assert caught.value.errno == errno.EIO
        assert time.monotonic() - began < 20
        assert os.path.isdir(place / "train")  # the rest of the mount answers
        proxy.down = False
        time.sleep(0.2)  # the kernel's second tries are over
        assert (place / "train/img" / name).read_bytes() == expected  # by itself
    told = log.read_text()
    assert "blob/shard" in told
    assert "bytes" in told
    assert name in told


def test_who_waits_through_an_outage_gets_his_bytes(proxy, digits_plain, place, tmp_path):
    options = RemoteOptions(tmp_path / "cache", timeout=30)
    with blobdir.mount(f"{proxy.url}/lemons", place, remote=options):
        name = min(os.listdir(place / "train/img"))
        proxy.down = True
        proxy.hang_up()
        threading.Timer(3, lambda: setattr(proxy, "down", False)).start()
        began = time.monotonic()
        assert (place / "train/img" / name).read_bytes() == (digits_plain / "train/img" / name).read_bytes()
        assert time.monotonic() - began > 2


def test_replaced_blob_is_an_error(proxy, place, tmp_path):
    with blobdir.mount(f"{proxy.url}/lemons", place, remote=RemoteOptions(tmp_path / "cache", timeout=5)):
        name = min(os.listdir(place / "train/img"))
        proxy.always = "replaced"
        with pytest.raises(OSError, match=".") as caught:
            (place / "train/img" / name).read_bytes()
        assert caught.value.errno in (errno.EIO, errno.ESTALE)


def test_annotation_that_grew_is_never_cut(s3, digits, place, tmp_path):
    fs = fsspec.filesystem("s3", **s3)
    if not fs.exists("growing"):
        fs.mkdir("growing")
    fs.put(str(digits), "growing/lemons", recursive=True)
    with blobdir.mount("s3://growing/lemons", place, storage_options=s3, remote=RemoteOptions(tmp_path / "cache")):
        name = min(os.listdir(place / "train/ann"))
        path = place / "train/ann" / name
        before = path.read_bytes()
        after = before + b" " * 500
        fs.pipe_file(f"growing/lemons/train/ann/{name}", after)
        subprocess.run(["sysctl", "-q", "vm.drop_caches=1"], check=False)
        time.sleep(0.2)
        for _ in range(20):
            try:
                found = path.read_bytes()
            except OSError as error:
                assert error.errno == errno.EIO
                found = None
            assert found in (None, before, after)
            time.sleep(0.05)
        assert found == after


def test_options_of_a_mount_are_those_of_the_command(place, tmp_path):
    from blobdir.mounting.options import parse_options

    words = parse_options("cache_size=1GiB,cache_dir=/x,timeout=5,memory_size=0")
    assert words["remote"] == {"cache_size": "1GiB", "cache_dir": "/x", "timeout": 5.0, "memory_size": "0"}
    options = MountOptions(remote=RemoteOptions(**words["remote"]))
    assert MountOptions.from_json(options.to_json()) == options


@pytest.mark.parametrize("kind", ["in a blob", "loose"])
@pytest.mark.parametrize("fault", ["down", 503, "stall"])
@pytest.mark.parametrize("engine", ["native", "fusepy"])
def test_the_deadline_is_one(proxy, place, tmp_path, engine, fault, kind):
    """Where a read has failed, the kernel tries it a second time: that doesn't wait for as long once more."""
    timeout = 2.0
    options = RemoteOptions(tmp_path / "cache", timeout=timeout)
    with blobdir.mount(f"{proxy.url}/lemons", place, remote=options, engine=engine):
        folder = place / ("train/img" if kind == "in a blob" else "train/ann")
        first, *_, last = sorted(os.listdir(folder))
        proxy.faulty = b".tar" if kind == "in a blob" else b".json"
        if fault == "down":
            proxy.down = True
            proxy.hang_up()
        else:
            proxy.always = fault
        for name in (first, last):
            began = time.monotonic()
            with pytest.raises(OSError, match=".") as caught:
                (folder / name).read_bytes()
            assert caught.value.errno == errno.EIO
            assert time.monotonic() - began < 1.75 * timeout
            os.stat(place / "train/img" / os.listdir(place / "train/img")[0])  # of images it's known
        proxy.down, proxy.always = False, None
        time.sleep(0.2)
        assert (folder / first).read_bytes()


def test_signals_reach_the_process_that_serves(proxy, place, tmp_path):
    """It has threads for requests, and the kernel gives a signal to any of them."""
    log = tmp_path / "log"
    for number in (signal.SIGTERM, signal.SIGINT, None):
        with blobdir.mount(f"{proxy.url}/lemons", place, remote=RemoteOptions(tmp_path / "c"), log=str(log)) as path:
            status = next(one for one in statuses() if one.record.mountpoint == str(place))
            pid = status.record.pid
            assert len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
            children = Path(f"/proc/{pid}/task/{pid}/children")
            for _ in range(3):
                before = set(children.read_text().split())
                os.kill(int(min(before)), signal.SIGKILL)
                end = time.monotonic() + 5
                while (now := set(children.read_text().split())) == before or len(now) < len(before):
                    assert time.monotonic() < end
                    time.sleep(0.01)
            assert (path / "meta.json").read_bytes()
            began = time.monotonic()
            if number is not None:
                os.kill(pid, number)
                while os.path.ismount(place):
                    assert time.monotonic() < began + 5
                    time.sleep(0.01)
        if number is None:
            with blobdir.mount(f"{proxy.url}/lemons", place, remote=RemoteOptions(tmp_path / "c")):
                began = time.monotonic()
                blobdir.umount(place)
                assert time.monotonic() - began < 5
    said = log.read_text()
    assert "unmounting: SIGTERM" in said and "unmounting: SIGINT" in said
