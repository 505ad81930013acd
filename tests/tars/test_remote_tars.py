"""Tars behind backends: a web server, an object store, memory."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import fsspec
import numpy as np
import pytest
from servers import readable

import blobdir
from blobdir.errors import BlobdirWarning, CompressedTarError, NotAProjectError
from blobdir.mounting import MountOptions

Tar = Callable[..., Path]
Served = tuple[str, dict[str, Any], Callable[[str], None]]
COMMAND = str(Path(sys.executable).parent / "blobdir")
MEMBERS = [
    {"one.txt": b"1", "d/two.jpg": bytes(range(256)) * 20, "./odd ä.txt": b"odd"},
    {"d/three.jpg": b"3" * 700, "one.txt": b"1"},
]
PATHS = ["d/three.jpg", "d/two.jpg", "link", "odd ä.txt", "one.txt"]


@pytest.fixture(scope="module", params=["nginx", "s3", "memory"])
def bucket(request: pytest.FixtureRequest) -> Iterator[Served]:
    """A URL of an empty place, options for it, and what puts a file there."""
    if request.param == "nginx":
        www, url, _ = request.getfixturevalue("nginx")
        folder = www / "a place"
        folder.mkdir()
        readable(folder)

        def put_file(path: str) -> None:
            target = folder / os.path.basename(path)
            target.write_bytes(Path(path).read_bytes())
            target.chmod(0o644)

        yield f"{url}/{quote('a place')}", {}, put_file
        return
    options = request.getfixturevalue("s3") if request.param == "s3" else {}
    protocol = request.param
    fs = fsspec.filesystem(protocol, **options)
    fs.makedirs("tars-bucket", exist_ok=True)

    def put(path: str) -> None:
        fs.put_file(path, f"tars-bucket/shards/{os.path.basename(path)}")
        fs.invalidate_cache()

    yield f"{protocol}://tars-bucket/shards", options, put


@pytest.fixture
def shards(tar: Tar, bucket: Served) -> tuple[str, dict[str, Any]]:
    url, options, put = bucket
    for number, members in enumerate(MEMBERS):
        put(str(tar(f"shard-{number:04d}.tar", members, {} if number else {"link": "d/two.jpg"})))
    return url, options


def opened(place: str, options: dict[str, Any], **more: Any) -> Any:
    return blobdir.open_project(place, storage_options=options, **more).filesystem


@pytest.mark.parametrize("pattern", ["shard-{0000..0001}.tar", "*.tar", "shard-000[01].tar"])
def test_a_union(shards: tuple[str, dict[str, Any]], pattern: str) -> None:
    url, options = shards
    fs = opened(f"{url}/{pattern}", options)
    assert fs.find("") == PATHS and fs.view.defects == []
    assert fs.cat(["d/two.jpg", "d/three.jpg", "odd ä.txt"]) == {
        "d/two.jpg": MEMBERS[0]["d/two.jpg"],
        "d/three.jpg": b"3" * 700,
        "odd ä.txt": b"odd",
    }
    assert fs.cat("link") == MEMBERS[0]["d/two.jpg"] and fs.cat_file("d/two.jpg", 256, 300) == bytes(range(44))


def test_one_tar_by_fsspec_and_the_command_line(shards: tuple[str, dict[str, Any]]) -> None:
    url, options = shards
    protocol = url.partition("://")[0]
    with fsspec.open(f"blobdir://d/three.jpg::{url}/shard-0001.tar", **{protocol: options}) as file:
        assert file.read() == b"3" * 700
    if protocol == "memory":
        return
    words = [f"--storage-option={key}={value}" for key, value in options.items()]
    said = subprocess.run(
        [COMMAND, "cat", *words, f"{url}/shard-0001.tar/d/three.jpg"], capture_output=True, check=False
    )
    assert said.stdout == b"3" * 700, said.stderr


def test_a_mount(shards: tuple[str, dict[str, Any]]) -> None:
    url, options = shards
    if url.startswith("memory"):
        url = "memory://nothing"  # the memory of another process
        with pytest.raises(NotAProjectError):
            blobdir.mount(f"{url}/*.tar", options=MountOptions(engine="native"))
        return
    made = MountOptions(engine="native", storage_options=options)
    with blobdir.mount(f"{url}/shard-{{0000..0001}}.tar", options=made) as mounted:
        assert (mounted / "link").read_bytes() == MEMBERS[0]["d/two.jpg"]


def test_hard_links_whose_targets_are_gone_are_read(tar: Tar, bucket: Served, tmp_path: Path) -> None:
    """The header before their bytes has the name of a file that isn't there any more."""
    url, options, put = bucket
    (tmp_path / "a").write_bytes(b"first")
    os.link(tmp_path / "a", tmp_path / "b")
    subprocess.run(["tar", "-cf", "linked.tar", "a", "b"], cwd=tmp_path, check=True)
    (tmp_path / "a").unlink()
    (tmp_path / "a").write_bytes(b"second one")
    subprocess.run(["tar", "-rf", "linked.tar", "a"], cwd=tmp_path, check=True)
    put(str(tmp_path / "linked.tar"))
    fs = opened(f"{url}/linked.tar", options)
    assert fs.cat(["a", "b"]) == {"a": b"second one", "b": b"first"} and fs.cat_file("b") == b"first"


@pytest.mark.parametrize(
    ("name", "words"),
    [("nothing.tar", "nothing.tar: doesn't exist"), ("no*.tar", "no file in it matches"), ("{x,y}.tar", "2 of 2 tars")],
)
def test_what_is_not_there(shards: tuple[str, dict[str, Any]], name: str, words: str) -> None:
    url, options = shards
    with pytest.raises(NotAProjectError, match=words):
        opened(f"{url}/{name}", options)


def test_damaged_and_compressed_ones(tar: Tar, bucket: Served, tmp_path: Path) -> None:
    url, options, put = bucket
    path = tar("cut-0.tar", {"a": b"1", "b": b"2" * 9000})
    os.truncate(path, 1024 + 512 + 100)
    put(str(path))
    with pytest.warns(BlobdirWarning, match="cut-0.tar: truncated"):
        fs = opened(f"{url}/cut-0.tar", options, on_defect="ignore")
    assert fs.find("") == ["a"] and fs.cat("a") == b"1"
    (tmp_path / "packed.tar").write_bytes(gzip.compress(bytes(np.arange(2000) % 251)))
    put(str(tmp_path / "packed.tar"))
    with pytest.raises(CompressedTarError, match="gunzip"):
        opened(f"{url}/packed.tar", options)
