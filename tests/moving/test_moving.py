"""Projects to a bucket and back, on real servers; cut off, and gone on with."""

import filecmp
import functools
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import pytest
from changes.children import every_call, killed_at
from faulty_proxy import FaultyProxy
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.registry import _registry
from PIL import Image

import blobdir
from blobdir.errors import BusyError, NotAProjectError, NotFoundError, ReadError, UsageError
from blobdir.moving import fetch, pack_to, push
from blobdir.packing import SubsetOptions
from blobdir.verifying import verify

PROGRAM = [sys.executable, "-c", "from blobdir.cli import main; main()"]


def same(a, b, ignore=(".blobdir",)):
    compared = filecmp.dircmp(a, b, ignore=list(ignore))
    assert not (compared.left_only or compared.right_only or compared.diff_files), compared.report()
    for name in compared.common_files:
        assert Path(a, name).read_bytes() == Path(b, name).read_bytes()
    for name in compared.common_dirs:
        same(Path(a, name), Path(b, name))


@pytest.fixture
def shelf(tmp_path):
    """A storage behind a backend, ``shelf://``, that outlives the process that writes to it."""
    (tmp_path / "shelf").mkdir()

    class Shelf(DirFileSystem):
        protocol = "shelf"
        cachable = False

        def __init__(self, **options):
            super().__init__(path=str(tmp_path / "shelf"), fs=LocalFileSystem(auto_mkdir=True))

    fsspec.register_implementation("shelf", Shelf, clobber=True)
    yield tmp_path / "shelf"
    _registry.pop("shelf")


@pytest.fixture
def large(tmp_path):
    """A project of several blobs of some megabytes, with checksums."""
    source = random.Random(5)
    plain = tmp_path / "plain"
    for dataset in ("train", "val"):
        (plain / dataset).mkdir(parents=True)
        for i in range(60):
            (plain / dataset / f"{i:03d}.jpg").write_bytes(b"\xff\xd8\xff" + source.randbytes(300_000))
    blobdir.packing.pack(plain, tmp_path / "large", blobdir.packing.PackOptions(shard_bytes=9_000_000))
    return tmp_path / "large"


@pytest.fixture
def served(large, nginx):
    www, plain, _ = nginx
    shutil.rmtree(www / "large", ignore_errors=True)
    shutil.copytree(large, www / "large")
    proxy = FaultyProxy(int(plain.rpartition(":")[2]))
    yield large, f"{proxy.url}/large", proxy, www / "large"
    proxy.close()


def test_fetch_from_every_storage(remote, digits, tmp_path):
    url, options, _ = remote
    report = fetch(url, tmp_path / "got", storage_options=options)
    same(tmp_path / "got", digits)
    assert report.files == sum(p.is_file() for p in digits.rglob("*"))
    assert report.size == sum(p.stat().st_size for p in digits.rglob("*") if p.is_file())
    assert sorted(os.listdir(tmp_path)) == ["got"]


@pytest.mark.parametrize("kind", ["s3", "azure", "sftp", "memory"])
def test_push_and_fetch_again(request, kind, large, tmp_path):
    if kind == "s3":
        options, url = request.getfixturevalue("s3"), f"s3://pushed-{tmp_path.name.replace('_', '-').lower()}/p"
        fsspec.filesystem("s3", **options).mkdir(url.split("/")[2])
    elif kind == "azure":
        options, url = request.getfixturevalue("azure"), f"abfs://pushed{abs(hash(tmp_path.name))}/p"
        fsspec.filesystem("abfs", **options).mkdir(url.split("/")[2])
    elif kind == "sftp":
        root, options = request.getfixturevalue("sftp")
        url = f"sftp://{root}/{tmp_path.name}"
    else:
        options, url = {}, f"memory://{tmp_path.name}"
    report = push(large, url, storage_options=options)
    assert not report.failed
    assert report.files == sum(p.is_file() and ".blobdir" not in p.parts for p in large.rglob("*"))
    project = blobdir.open_project(url, storage_options=options)
    local = blobdir.open_project(large)
    assert project["train"].read_many(project["train"].names) == local["train"].read_many(local["train"].names)
    fetch(url, tmp_path / "again", storage_options=options)
    same(tmp_path / "again", large)
    with pytest.raises(UsageError, match="holds .* files? already"):
        push(large, url, storage_options=options)
    assert push(large, url, storage_options=options, resume=True).files == 0
    with pytest.raises(UsageError, match="is there already"):
        fetch(url, tmp_path / "again", storage_options=options)


def test_with_a_pushed_index_an_image_is_one_request(s3, large):
    fs = fsspec.filesystem("s3", **s3)
    fs.mkdir("with-index")
    report = push(large, "s3://with-index/p", storage_options=s3)
    assert report.index == "s3://with-index/p/.blobdir/index.tar"
    project = blobdir.open_project("s3://with-index/p", storage_options=s3)
    backend = project.tree.storage.backend
    asked = []
    get, info = backend.transport.get, backend.transport.info
    backend.transport.get = lambda path, *r, **o: asked.append(path) or get(path, *r, **o)
    backend.transport.info = lambda path: asked.append(path) or info(path)
    name = project["train"].names[5]
    assert project["train"].get_blob_img_bytes(name) == blobdir.open_project(large)["train"].get_blob_img_bytes(name)
    assert len(asked) == 1


def test_fetch_one_dataset(served, tmp_path):
    large, url, _, _ = served
    fetch(url, tmp_path / "got", choose=SubsetOptions(datasets=("val",)))
    project = blobdir.open_project(tmp_path / "got")
    assert list(project) == ["val"]
    assert not project.defects
    local = blobdir.open_project(large)
    assert project["val"].read_many(project["val"].names) == local["val"].read_many(local["val"].names)
    with pytest.raises(UsageError, match="nope: isn't a dataset; there are"):
        fetch(url, tmp_path / "other", choose=SubsetOptions(datasets=("nope",)))


def test_fetch_some_images(remote, digits, tmp_path):
    url, options, _ = remote
    fetch(url, tmp_path / "got", storage_options=options, choose=SubsetOptions(patterns=("train/*[135]0.png",)))
    project, whole = blobdir.open_project(tmp_path / "got"), blobdir.open_project(digits)
    names = [name for name in whole["train"] if name.endswith(("10.png", "30.png", "50.png"))]
    assert names
    assert project["train"].names == names
    assert project["train"].read_many(names) == whole["train"].read_many(names)
    assert [project["train"].annotation(n) for n in names] == [whole["train"].annotation(n) for n in names]
    assert not [finding for finding in verify(tmp_path / "got").findings if finding.severity == "error"]
    with pytest.raises(NotFoundError, match="no image fits"):
        fetch(url, tmp_path / "none", storage_options=options, choose=SubsetOptions(patterns=("nothing",)))


def test_killed_and_resumed(served, tmp_path):
    large, url, proxy, _ = served
    proxy.delay_s = 0.1
    target = tmp_path / "got"
    for delay in (0.9, 1.3):
        process = subprocess.Popen(
            [*PROGRAM, "fetch", url, target, *(["--resume"] if delay > 1 else [])], stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + 30
        while not (tmp_path / "got.fetching").exists() and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(delay / 2)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not target.exists()
    proxy.delay_s = 0
    with pytest.raises(UsageError, match="--resume"):
        fetch(url, target)
    report = fetch(url, target, resume=True)
    same(target, large)
    assert report.verified == len(list((large / "blob").glob("*.tar")))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["got", "large", "plain"]


def test_resume_fetches_only_what_is_missing(served, tmp_path):
    large, url, proxy, _ = served
    proxy.always, proxy.spares = 403, 512  # blobs can't be had, the rest can
    with pytest.raises(ReadError, match="credentials"):
        fetch(url, tmp_path / "got")
    proxy.always = None
    assert fetch(url, tmp_path / "got", resume=True).resumed > 0
    same(tmp_path / "got", large)


def test_blob_that_changed_between_two_tries(served, tmp_path):
    large, url, proxy, _ = served
    proxy.always, proxy.spares = 403, 512
    with pytest.raises(ReadError):
        fetch(url, tmp_path / "got")
    proxy.always = None
    target = tmp_path / "got.fetching/blob" / min(p.name for p in (large / "blob").glob("*.tar"))
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(b"of another version")
    fetch(url, tmp_path / "got", resume=True)
    same(tmp_path / "got", large)


def test_wrong_checksum(served, tmp_path):
    _, url, _, remote = served
    blob = min((remote / "blob").glob("*.tar"))
    data = bytearray(blob.read_bytes())
    data[5000] ^= 1
    blob.write_bytes(data)
    with pytest.raises(ReadError, match="doesn't have the checksum"):
        fetch(url, tmp_path / "got")
    assert not (tmp_path / "got").exists()
    assert not (tmp_path / "got.fetching/blob" / blob.name).exists()


def test_what_failed_is_named_and_tried_again(s3, large, monkeypatch):
    fs = fsspec.filesystem("s3", **s3)
    fs.mkdir("failing")
    from blobdir.moving.uploading import Uploader

    real, broken = Uploader._one, {"left": 2}

    async def one(self, path, file):
        if path.endswith(".tar") and "-0000" in path and broken["left"]:
            broken["left"] -= 1
            return "broke"
        return await real(self, path, file)

    monkeypatch.setattr(Uploader, "_one", one)
    assert not push(large, "s3://failing/p", storage_options=s3).failed
    broken["left"] = 100
    report = push(large, "s3://failing/q", storage_options=s3)
    assert next(iter(report.failed.values())) == "broke"
    assert not fs.exists("failing/q/meta.json")  # so nobody takes it for a project


@pytest.fixture
def photos(tmp_path):
    """A plain folder that makes several blobs."""
    source = random.Random(6)
    for dataset in ("train", "val"):
        (tmp_path / "photos" / dataset / "ripe").mkdir(parents=True)
        for i in range(40):
            place = tmp_path / "photos" / dataset / ("ripe" if i % 2 else "")
            (place / f"{i:03d}.jpg").write_bytes(photo(source.randbytes(100_000)))
    return tmp_path / "photos"


SMALL = blobdir.packing.PackOptions(shard_bytes=1_000_000)


def photo(noise):
    """A picture of a size, and more bytes behind it."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG")
    return file.getvalue() + noise


@pytest.mark.parametrize("kind", ["s3", "azure", "memory"])
def test_pack_into_a_bucket(request, kind, photos, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    options = {} if kind == "memory" else request.getfixturevalue(kind)
    bucket = f"packed{abs(hash(tmp_path.name))}"
    url = f"{ {'s3': 's3', 'azure': 'abfs', 'memory': 'memory'}[kind] }://{bucket}/p"
    if kind != "memory":
        fsspec.filesystem({"s3": "s3", "azure": "abfs"}[kind], **options).mkdir(bucket)
    dry, pushed = pack_to(photos, url, SMALL, storage_options=options, dry_run=True)
    assert not fsspec.filesystem(kind if kind != "azure" else "abfs", **options).find(f"{bucket}/p")
    assert not (tmp_path / "cache").exists()
    report, pushed = pack_to(photos, url, SMALL, storage_options=options)
    assert (dry.found, dry.images, len(dry.blobs)) == (report.found, report.images, len(report.blobs))
    assert report.complete
    assert not pushed.failed
    assert len(report.blobs) > 6
    blobdir.packing.pack(photos, tmp_path / "local", SMALL)
    fetch(url, tmp_path / "got", storage_options=options)
    same(tmp_path / "got", tmp_path / "local")
    (known,) = (tmp_path / "cache/blobdir/packing").iterdir()
    assert [note.name for note in known.iterdir()] == ["rest.json"]  # the names of what is there now
    with pytest.raises(UsageError, match="holds .* files? already"):
        pack_to(photos, url, SMALL, storage_options=options)


def test_pack_into_a_bucket_killed_and_resumed(s3, photos, tmp_path):
    fsspec.filesystem("s3", **s3).mkdir("killed-pack")
    config = tmp_path / "config.toml"
    config.write_text('[storage."s3://killed-pack"]\n' + "".join(f'{key} = "{value}"\n' for key, value in s3.items()))
    config.chmod(0o600)
    environment = {**os.environ, "BLOBDIR_CONFIG": str(config), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [*PROGRAM, "pack", "-q", photos, "s3://killed-pack/p", "--shard-size", "1000000", "--resume"]
    for delay in (1.2, 1.6, 2.0):
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    blobdir.packing.pack(photos, tmp_path / "local", SMALL)
    fetch("s3://killed-pack/p", tmp_path / "got", storage_options=s3)
    same(tmp_path / "got", tmp_path / "local")


def test_a_pack_into_a_storage_killed_twice(shelf, tmp_path, monkeypatch):
    """Whatever the first kill leaves, a second one leaves nothing that the third try doesn't know as its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = random.Random(5)
    (tmp_path / "photos").mkdir()
    for i in range(4):
        (tmp_path / "photos" / f"{i}.jpg").write_bytes(b"\xff\xd8\xff" + source.randbytes(1000))
    small = blobdir.packing.PackOptions(shard_bytes=1)
    blobdir.packing.pack(tmp_path / "photos", tmp_path / "local", small)
    step = 1 if every_call() else 3
    number, killed = random.randrange(step), True
    while killed:
        url = f"shelf://{number}/p"
        try_it = functools.partial(pack_to, tmp_path / "photos", url, small, resume=True)
        killed, refused = killed_at(try_it, number)
        assert not refused
        assert not killed_at(try_it, source.randrange(number + 20))[1]
        try_it()
        fetch(url, tmp_path / f"got-{number}")
        same(tmp_path / f"got-{number}", tmp_path / "local")
        number += step
    assert number > 50


def test_a_pack_that_has_ended_can_be_repeated(photos, tmp_path, monkeypatch):
    """Who was cut off at the very end doesn't know that all is there. What is known of it is forgotten one day."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for _ in range(2):
        pack_to(photos, "memory://repeated/p", resume=True)
    fetch("memory://repeated/p", tmp_path / "got")
    blobdir.packing.pack(photos, tmp_path / "local")
    same(tmp_path / "got", tmp_path / "local")
    (known,) = (tmp_path / "cache/blobdir/packing").iterdir()
    assert [note.name for note in known.iterdir()] == ["rest.json"]
    os.utime(known / "rest.json", (1, 1))
    pack_to(photos, "memory://repeated/q")
    assert not known.exists()


@pytest.mark.parametrize("change", ["edit", "remove"])
def test_pack_into_a_bucket_resumed_after_a_change(photos, tmp_path, monkeypatch, change):
    """What the first try has uploaded of images that have changed isn't there afterwards."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    from blobdir.moving import packed

    url, real, count = f"memory://changed-{change}/p", packed._Uploads.upload, []

    def upload(self, path, place, digest):
        real(self, path, place, digest)
        count.append(place)
        if len(count) == 4:
            raise ReadError("cut off")

    monkeypatch.setattr(packed._Uploads, "upload", upload)
    with pytest.raises(ReadError, match="cut off"):
        pack_to(photos, url, SMALL)
    image = photos / "train/000.jpg"
    if change == "remove":
        image.unlink()
    else:
        before = image.stat()
        image.write_bytes(photo(image.read_bytes()[::-1][: -len(photo(b""))]))
        os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(UsageError, match="holds .* files? already"):
        pack_to(photos, url, SMALL)
    report, pushed = pack_to(photos, url, SMALL, resume=True)
    assert pushed.complete
    assert report.complete
    blobdir.packing.pack(photos, tmp_path / "local", SMALL)
    fetch(url, tmp_path / "got")
    same(tmp_path / "got", tmp_path / "local")


def test_a_blob_that_somebody_has_removed_is_packed_again(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    from blobdir.moving import packed

    url, real = "memory://replaced/p", packed._Uploads.upload

    def upload(self, path, place, digest):
        real(self, path, place, digest)
        raise ReadError("cut off")

    monkeypatch.setattr(packed._Uploads, "upload", upload)
    with pytest.raises(ReadError, match="cut off"):
        pack_to(photos, url, SMALL)
    monkeypatch.setattr(packed._Uploads, "upload", real)
    memory = fsspec.filesystem("memory")
    (blob,) = memory.find("/replaced/p/blob")
    memory.pipe_file(blob, bytes(memory.size(blob)))
    with pytest.raises(UsageError, match="changed there since"):  # somebody else's
        pack_to(photos, url, SMALL, resume=True)
    memory.rm_file(blob)
    pack_to(photos, url, SMALL, resume=True)
    blobdir.packing.pack(photos, tmp_path / "local", SMALL)
    fetch(url, tmp_path / "got")
    same(tmp_path / "got", tmp_path / "local")


def test_blobs_that_are_uploaded_take_no_room(s3, photos, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fsspec.filesystem("s3", **s3).mkdir("no-room")
    from blobdir.moving import packed

    used = []
    upload = packed._Uploads.upload

    def watched(self, path, place, digest):
        upload(self, path, place, digest)
        stage = tmp_path / "cache"
        used.append(sum(p.stat().st_blocks * 512 for p in stage.rglob("*.tar")))

    monkeypatch.setattr(packed._Uploads, "upload", watched)
    pack_to(photos, "s3://no-room/p", SMALL, storage_options=s3)
    assert len(used) > 6
    assert max(used) < 6_000_000  # of 8
    assert used[-1] < 100_000  # what holes take


def test_bad_arguments(large, tmp_path):
    with pytest.raises(UsageError, match="on this machine"):
        fetch(str(large), tmp_path / "x")
    with pytest.raises(UsageError, match="on this machine"):
        push(large, str(tmp_path / "x"))
    with pytest.raises(NotAProjectError):
        push(tmp_path, "memory://x")
    with pytest.raises(NotAProjectError):
        fetch("memory://nothing-at-all", tmp_path / "y")


def call(*arguments, **environment):
    return subprocess.run(
        [*PROGRAM, *map(os.fspath, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | environment,
    )


def test_commands(s3, large, tmp_path):
    fs = fsspec.filesystem("s3", **s3)
    fs.mkdir("commands")
    config = tmp_path / "config.toml"
    config.write_text('[storage."s3://commands"]\n' + "".join(f'{key} = "{value}"\n' for key, value in s3.items()))
    config.chmod(0o600)
    cache = tmp_path / "cache"
    environment = {"BLOBDIR_CONFIG": str(config), "BLOBDIR_CACHE_DIR": str(cache)}
    url = "s3://commands/lemons"
    done = call("push", large, url, **environment)
    assert done.returncode == 0, done.stderr
    assert "pushed" in done.stderr
    assert call("push", large, url, **environment).returncode == 2
    assert "were there" in call("push", large, url, "--resume", **environment).stderr
    done = call("ls", f"{url}/train/img", **environment)
    assert done.stdout.split()[0] == "000.jpg"
    done = call("cache", "warm", url, **environment)
    assert done.returncode == 0, done.stderr
    assert f"{url}/blob/" in call("cache", "info", **environment).stdout
    assert "fetched" in call("cache", "warm", url, **environment).stderr
    assert "too" not in call("cache", "clear", url, **environment).stderr
    assert "0 blocks" in call("cache", "info", **environment).stdout
    done = call("fetch", url, tmp_path / "got", **environment)
    assert "checksums agree" in done.stderr
    same(tmp_path / "got", large)
    done = call("fetch", url, tmp_path / "some", "--glob", "train/00*", "--dataset", "train", **environment)
    assert done.returncode == 0, done.stderr
    assert len(blobdir.open_project(tmp_path / "some")["train"]) == 10
    done = call("cache", "warm", url, "--cache-size", "3MiB", **environment)
    assert done.returncode == 2
    assert "more bytes than the cache may take" in done.stderr
    secret = s3["secret"]
    for arguments in (["ls", url], ["info", url], ["cache", "info"], ["fetch", "s3://commands/none", tmp_path / "n"]):
        done = call(*arguments, **environment)
        assert secret not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense = 1", "nonsense means nothing"),
        ("[cache]\nplace = 1", "cache.place means nothing"),
        ("[storage]\nkey = 1", "storage.key means nothing"),
        ("= =", "config.toml"),
        ("storage = 5", "must be tables"),
    ],
)
def test_configuration_that_is_wrong(tmp_path, text, message, large):
    config = tmp_path / "config.toml"
    config.write_text(text)
    done = call("ls", "s3://bucket/x", BLOBDIR_CONFIG=str(config))
    assert done.returncode == 2
    assert message in done.stderr
    assert str(config) in done.stderr


def test_configuration_that_others_can_read_is_warned_of(tmp_path, monkeypatch):
    config = tmp_path / "config.toml"
    config.write_text('[storage."s3://bucket"]\nkey = "x"\n[cache]\nsize = "3GiB"\ndir = "/somewhere"')
    config.chmod(0o644)
    monkeypatch.setenv("BLOBDIR_CONFIG", str(config))
    from blobdir.sources import RemoteOptions, storage_options

    with pytest.warns(blobdir.errors.BlobdirWarning, match="chmod 600"):
        assert storage_options("s3://bucket/lemons", {"secret": "y"}) == {"key": "x", "secret": "y"}
    config.chmod(0o600)
    assert storage_options("s3://other/lemons", None) == {}
    assert RemoteOptions().disk_bytes == 3 << 30
    assert str(RemoteOptions().folder) == "/somewhere"
    assert RemoteOptions(cache_size=5).disk_bytes == 5


def test_checksums_are_those_of_sha256sum(served, tmp_path):
    _, url, _, _ = served
    fetch(url, tmp_path / "got")
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path / "got/blob", capture_output=True, check=True)
    assert b"FAILED" not in done.stdout


@pytest.mark.parametrize("how", ["force", "resume"])
def test_the_index_of_what_was_there_is_not_believed(s3, digits, tmp_path, how):
    fs = fsspec.filesystem("s3", **s3)
    url = f"s3://stale-{how}/p"
    fs.mkdir(f"stale-{how}")
    push(digits, url, storage_options=s3)
    other = shutil.copytree(digits, tmp_path / "other")
    (other / "train/ann/new.json").write_text("{}")
    push(other, url, storage_options=s3, index=False, **{how: True})
    found = blobdir.open_project(url, storage_options=s3)
    assert found.filesystem.exists("train/ann/new.json")
    name = found["train"].names[0]
    assert found["train"].get_blob_img_bytes(name) == blobdir.open_project(digits)["train"].get_blob_img_bytes(name)


def test_two_that_fetch_into_one_folder(served, tmp_path):
    _, url, _, _ = served
    work = tmp_path / "got.fetching"
    work.mkdir()
    code = f"import fcntl, os, time; fcntl.flock(os.open({str(work)!r}, 0), 2); print(1, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(BusyError, match="another process"):
            fetch(url, tmp_path / "got", resume=True)
        other.kill()
    fetch(url, tmp_path / "got", resume=True)


def test_resuming_the_fetch_of_another_project(served, digits, nginx, tmp_path):
    large, url, proxy, _ = served
    proxy.always, proxy.spares = 403, 512
    with pytest.raises(ReadError):
        fetch(url, tmp_path / "got")
    memory = fsspec.filesystem("memory")
    memory.put(str(digits), "/elsewhere/p", recursive=True)
    with pytest.raises(UsageError, match="another project"):
        fetch("memory://elsewhere/p", tmp_path / "got", resume=True)
    memory.rm("/elsewhere", recursive=True)
    proxy.always = None
    fetch(url, tmp_path / "got", resume=True)
    same(tmp_path / "got", large)


def test_large_files_with_long_names(tmp_path):
    memory = fsspec.filesystem("memory")
    path = "/".join(["d" * 100] * 3)
    memory.pipe_file("/long/p/meta.json", b"{}")
    memory.pipe_file(f"/long/p/train/ann/{path}/x.json", bytes(2_000_000))
    fetch("memory://long/p", tmp_path / "got")
    assert (tmp_path / "got/train/ann" / path / "x.json").stat().st_size == 2_000_000
    memory.rm("/long", recursive=True)
