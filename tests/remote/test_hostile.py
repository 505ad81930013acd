"""Remote storages that mean harm, or are odd: names that lead elsewhere, roots without a name, secrets."""

import os
import shutil
import subprocess
import sys
import time
import zipfile

import fsspec
import pytest
from blob_builder import Builder
from servers import readable

import blobdir
from blobdir.errors import BlobdirError, BlobdirWarning, PackError, ReadError, SourceChangedError, UsageError
from blobdir.moving import fetch
from blobdir.sources import Stat, open_storage, storage_options
from blobdir.sources.secrecy import without_secrets


@pytest.fixture
def small(tmp_path):
    made = Builder(tmp_path / "p")
    made.blob("train", "a", {"1.jpg": b"1" * 600, "2.jpg": b"2" * 600})
    return made.root


@pytest.fixture
def memory(small):
    fs = fsspec.filesystem("memory")
    fs.put(str(small), "/hostile/p", recursive=True)
    yield fs
    fs.rm("/hostile", recursive=True)


@pytest.mark.parametrize("key", ["p/../../../escaped", "p//{tmp}/escaped", "p/train/../../../escaped", "p/train/./x"])
def test_names_that_lead_elsewhere(s3, small, tmp_path, key):
    fs = fsspec.filesystem("s3", **s3)
    bucket = f"hostile{abs(hash(key))}"
    fs.mkdir(bucket)
    fs.put(str(small), f"{bucket}/p", recursive=True)
    fs.pipe_file(f"{bucket}/{key.format(tmp=str(tmp_path).lstrip('/'))}", b"evil")
    with pytest.raises(PackError, match="can't be the path"):
        fetch(f"s3://{bucket}/p", tmp_path / "deep/er/copy", storage_options=s3)
    fetch(f"s3://{bucket}/p", tmp_path / "deep/er/copy", storage_options=s3, with_defects=True)
    assert not list(tmp_path.rglob("escaped"))
    assert (tmp_path / "deep/er/copy/meta.json").exists()
    with pytest.warns(BlobdirWarning, match="can't be the path"):
        project = blobdir.open_project(f"s3://{bucket}/p", storage_options=s3)
    assert project["train"].get_blob_img_bytes("1.jpg") == b"1" * 600


@pytest.mark.parametrize("root", ["zip::", "zip://::"])
def test_project_at_the_root_of_an_archive(small, tmp_path, root):
    archive = tmp_path / "p.zip"
    with zipfile.ZipFile(archive, "w") as made:
        for path in small.rglob("*"):
            if path.is_file():
                made.write(path, path.relative_to(small))
    project = blobdir.open_project(f"{root}{archive}")
    assert project["train"].get_blob_img_bytes("2.jpg") == b"2" * 600
    assert project["train"].annotation("1.jpg")["size"]


@pytest.mark.parametrize(
    "text",
    [
        "sftp://me:hun@ter2@host/data",
        "https://me:hunter2@host/data?sig=hunter2",
        "zip://a::https://me:hunter2@host/p.zip?sig=hunter2&x=1",
        "403, message='Forbidden', url='https://host/x?sig=hunter2'",
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=hunter2==;EndpointSuffix=x",
        "BlobEndpoint=https://a;SharedAccessSignature=sv=1&sig=hunter2",
    ],
)
def test_secrets_are_left_out(text):
    shown = without_secrets(text)
    assert "hun" not in shown
    assert "ter2" not in shown


@pytest.mark.parametrize(
    "url", ["s4://key:hunter2@bucket/x", "s4://bucket/x?sig=hunter2", "sftp://me:hunter2@127.0.0.1:9/x"]
)
@pytest.mark.parametrize("command", ["info", "ls", "fetch"])
def test_secrets_of_urls_that_cannot_be_opened(url, command, tmp_path):
    more = [str(tmp_path / "copy")] if command == "fetch" else []
    arguments = [sys.executable, "-m", "blobdir", "--debug", command, url, *more, "--timeout", "3"]
    done = subprocess.run(arguments, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode in (2, 3, 7)
    assert "hunter2" not in done.stdout + done.stderr
    with pytest.raises(BlobdirError) as caught:
        blobdir.open_project(url)
    assert "hunter2" not in str(caught.value)


def test_options_are_for_the_place_that_they_name(tmp_path, monkeypatch):
    file = tmp_path / "config.toml"
    file.write_text('[storage."https://host"]\na = 1\n[storage."s3://"]\nb = 1\n[storage."s3://bucket/x"]\nc = 1\n')
    file.chmod(0o600)
    monkeypatch.setenv("BLOBDIR_CONFIG", str(file))
    for url in ("https://host", "https://host/", "https://host/p", "https://host?x=1"):
        assert storage_options(url, None) == {"a": 1}
    for url in ("https://host.evil.org/p", "https://host@evil.org/p", "https://host:81/p", "https://hostile"):
        assert storage_options(url, None) == {}
    assert storage_options("s3://other/p", None) == {"b": 1}
    assert storage_options("s3://bucket/x/y", None) == {"c": 1}
    assert storage_options("s3://bucket/xy", None) == {"b": 1}


@pytest.mark.parametrize("kind", ["s3", "abfs", "http", "sftp"])
def test_a_wrong_address_is_an_error_soon(kind):
    key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
    end = "http://127.0.0.1:9"
    account = f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey={key};BlobEndpoint={end}/a;"
    url, options = {
        "s3": ("s3://bucket/x", {"key": "k", "secret": "s", "endpoint_url": end}),
        "abfs": ("abfs://c/x", {"connection_string": account}),
        "http": (f"{end}/x", {}),
        "sftp": ("sftp:///x", {"host": "127.0.0.1", "port": 9, "username": "x"}),
    }[kind]
    began = time.monotonic()
    with pytest.raises(ReadError):
        blobdir.open_project(url, storage_options=options)
    assert time.monotonic() - began < 10


def test_cache_folder_that_cannot_be_written(memory, tmp_path, monkeypatch):
    from blobdir.moving import push

    push(tmp_path / "p", "memory://hostile/pushed")
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # neither can a folder be made in it
    project = blobdir.open_project("memory://hostile/pushed")
    assert project["train"].get_blob_img_bytes("1.jpg") == b"1" * 600


def test_blob_that_has_become_shorter(nginx, tmp_path):
    www, plain, _ = nginx
    made = Builder(www / "shorter")
    made.blob("train", "a", {f"{i}.jpg": bytes([i]) * 600_000 for i in range(8)})
    readable(www / "shorter")
    train = blobdir.open_project(f"{plain}/shorter", cache_size=0, memory_size=0)["train"]
    os.truncate(www / "shorter/blob/a.tar", 5120)
    began = time.monotonic()
    with pytest.raises(SourceChangedError, match="open the project again"):
        train.get_blob_img_bytes("7.jpg")
    with pytest.raises(SourceChangedError, match="open the project again"):
        train.read_many(train.names)
    assert time.monotonic() - began < 5
    os.truncate(www / "shorter/blob/a.tar", 0)
    began = time.monotonic()
    with pytest.warns(BlobdirWarning):
        again = blobdir.open_project(f"{plain}/shorter")
    with pytest.raises(ReadError):
        again["train"].get_blob_img_bytes("7.jpg")
    assert time.monotonic() - began < 5


def test_two_servers_with_one_url(sftp, tmp_path):
    _, options = sftp
    version = Stat("file", 600, 1_000_000_000)  # as builds that reproduce give all their files
    keys = {
        open_storage("sftp:///data/lemons", options=options | {"host": host}).open("blob/a.tar", version)._key
        for host in ("127.0.0.1", "localhost")
    }
    assert len(keys) == 2


def test_url_with_a_query(nginx, small):
    www, plain, _ = nginx
    if not (www / "query").exists():
        readable(shutil.copytree(small, www / "query"))
    for url in (f"{plain}/query?sig=hunter2", f"{plain}/query/?x=1"):
        with pytest.raises(UsageError, match="query") as caught:
            blobdir.open_project(url)
        assert "hunter2" not in str(caught.value)


def test_called_in_the_event_loop_of_fsspec(memory):
    fs = blobdir.open_project("memory://hostile/p", cache_size=0).filesystem

    async def read():
        return fs.cat_file("train/img/1.jpg")

    began = time.monotonic()
    with pytest.raises(UsageError, match="event loop"):
        fsspec.asyn.sync(fsspec.asyn.get_loop(), read)
    assert time.monotonic() - began < 2
    assert fs.cat_file("train/img/1.jpg") == b"1" * 600
