"""Tars from the command line, and mounted by each engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import blobdir
from blobdir.cli.app import run as run_here
from blobdir.mounting import MountOptions, statuses

Tar = Callable[..., Path]
Run = Callable[..., bytes]
COMMAND = str(Path(sys.executable).parent / "blobdir")
ENGINES = ["native", "fusepy", "kernel"]


@pytest.fixture
def shards(tar: Tar, tmp_path: Path) -> Path:
    tar("shards/a-0.tar", {"one.txt": b"1", "d/two.jpg": b"2" * 3000, "empty/": b""}, {"link": "d/two.jpg"})
    tar("shards/a-1.tar", {"d/three.jpg": b"3" * 700, "\udcff": b"odd"})
    return tmp_path


@pytest.fixture
def run(
    shards: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Callable[..., bytes]:
    """Runs the program, and gives all that it says."""
    monkeypatch.chdir(shards)

    def call(*words: str, status: int = 0) -> bytes:
        capfdbinary.readouterr()
        found = run_here(words)
        sys.stdout.flush()
        said = capfdbinary.readouterr()
        assert found == status, said.err.decode()
        return said.out + said.err

    return call


# -- command line ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ls", "shards/a-0.tar"], b"d\nempty\nlink\none.txt\n"),
        (["ls", "shards/a-0.tar/d"], b"two.jpg\n"),
        (["ls", "shards/*.tar"], b"d\nempty\nlink\none.txt\n\xff\n"),
        (["ls", "shards/a-{0..1}.tar"], b"d\nempty\nlink\none.txt\n\xff\n"),
        (["cat", "shards/a-0.tar/d/two.jpg"], b"2" * 3000),
        (["cat", "shards/a-0.tar/link"], b"2" * 3000),
        (["cat", "blobdir://d/three.jpg::shards/*.tar"], b"3" * 700),
    ],
)
def test_ls_and_cat(run: Run, words: list[str], said: bytes) -> None:
    assert run(*words) == said


def test_info(shards: Path, run: Run) -> None:
    found = json.loads(run("info", "--json", "shards/*.tar"))
    assert found["project"] == f"{shards}/shards/*.tar" and found["datasets"] == []
    assert [blob["path"] for blob in found["blobs"]] == ["a-0.tar", "a-1.tar"]
    one = json.loads(run("info", "--json", "shards/a-1.tar/d/three.jpg"))
    assert (one["blob"], one["size"]) == ("a-1.tar", 700)


@pytest.mark.parametrize("place", ["shards/a-0.tar", "shards/a-0.tar/d", "shards/*.tar"])
def test_cp(shards: Path, run: Run, place: str) -> None:
    run("cp", "-r", "-q", place, "out")
    found = {str(path.relative_to(shards / "out")) for path in (shards / "out").rglob("*")}
    wanted = blobdir.open_project(shards / place.removesuffix("/d")).filesystem.find("", withdirs=True)
    if place.endswith("/d"):
        assert found == {"two.jpg"}
    else:
        assert found == set(wanted)


@pytest.mark.parametrize("place", ["shards/a-0.tar", "shards/*.tar"])
def test_verify(shards: Path, run: Run, place: str) -> None:
    said = run("verify", place)
    assert b"0 errors, 0 warnings" in said
    assert not any(word in said for word in (b"SHA256SUMS", b"annotation", b"of images", b"--decode", b"blob"))
    os.truncate(shards / "shards/a-0.tar", 1024 + 512 + 100)
    assert b"tar-damaged" in run("verify", place, status=6)


@pytest.mark.parametrize("place", ["shards/*.tar/one.txt", "shards/a-{0..1}.tar/d/two.jpg", "no*.tar/a/b"])
def test_a_path_behind_a_pattern_is_named_as_one(run: Run, place: str) -> None:
    pattern = place[: place.index(".tar") + 4].encode()
    assert b"a pattern of tars has no path behind it" in (said := run("cat", place, status=3))
    assert b"open " in said and said.rstrip().endswith(pattern)


CHANGES = {
    "add": ["add", "TAR", "train", "new.png"],
    "remove": ["remove", "TAR", "train/a.jpg"],
    "move": ["move", "TAR", "train/a.jpg", "val"],
    "compact": ["compact", "TAR"],
    "merge": ["merge", "TAR", "shards/a-1.tar"],
    "repair": ["verify", "--repair", "TAR"],
    "stats": ["stats", "TAR"],
    "preview": ["preview", "TAR", "-o", "x.png"],
    "subset": ["subset", "TAR", "s"],
    "convert": ["convert", "TAR", "s", "--to", "coco"],
    "push": ["push", "TAR", "memory://x"],
}


@pytest.mark.parametrize("command", CHANGES)
def test_what_only_a_project_can_do_is_refused(shards: Path, run: Run, command: str) -> None:
    (shards / "new.png").write_bytes(b"")
    before = (shards / "shards/a-0.tar").read_bytes()
    words = [word.replace("TAR", "shards/a-0.tar") for word in CHANGES[command]]
    assert b"a-0.tar: is a tar, not a blob project: " in run(*words, status=3)
    assert (shards / "shards/a-0.tar").read_bytes() == before
    assert {path.name for path in shards.iterdir()} == {"shards", "new.png"}
    assert {path.name for path in (shards / "shards").iterdir()} == {"a-0.tar", "a-1.tar"}


@pytest.mark.parametrize(
    ("place", "status", "said"),
    [
        ("none.tar", 3, b"none.tar: doesn't exist"),
        ("none*.tar", 3, b"no file in it matches none*.tar"),
        ("shards/a-{0..2}.tar", 3, b"1 of 3 tars aren't there: a-2.tar"),
        ("x-{}.tar", 2, b"nothing in its braces"),
        ("{0..100000}.tar", 2, b"more than 100,000"),
    ],
)
def test_errors_and_exit_codes(shards: Path, run: Run, place: str, status: int, said: bytes) -> None:
    (shards / "m").mkdir()
    for words in (["ls", place], ["info", place], ["mount", "-f", place, "m"], ["index", place]):
        assert said in run(*words, status=status)


# -- mounts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("place", ["shards/a-0.tar", "shards/*.tar"])
def test_mounts(shards: Path, engine: str, place: str) -> None:
    with blobdir.mount(shards / place, options=MountOptions(engine=engine)) as mounted:
        assert (mounted / "one.txt").read_bytes() == b"1" and (mounted / "link").read_bytes() == b"2" * 3000
        assert os.readlink(mounted / "link") == "d/two.jpg" and list((mounted / "empty").iterdir()) == []
        names = {os.fsencode(path.relative_to(mounted)) for path in mounted.rglob("*")}
        assert names == {b"one.txt", b"d", b"d/two.jpg", b"empty", b"link"} | (
            {b"d/three.jpg", b"\xff"} if "*" in place else set()
        )
        (status,) = [found for found in statuses() if found.record.mountpoint == str(mounted)]
        assert status.record.url == str(shards / place) and status.changed == []
        path = shards / "shards/a-0.tar"
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
        (status,) = [found for found in statuses() if found.record.mountpoint == str(mounted)]
        assert any("a-0.tar was replaced" in said for said in status.changed)
    assert {path.name for path in (shards / "shards").iterdir()} == {"a-0.tar", "a-1.tar"}


def test_mount_from_the_command_line(shards: Path) -> None:
    (shards / "m").mkdir()
    words = ["mount", "--engine", "native", "shards/a-{0..1}.tar", "m"]
    subprocess.run([COMMAND, *words], cwd=shards, check=True, timeout=60)
    try:
        assert (shards / "m/d/three.jpg").read_bytes() == b"3" * 700
    finally:
        blobdir.umount(shards / "m")


def test_an_image_of_two_tars_of_one_folder_is_that_of_each(shards: Path) -> None:
    time.sleep(0.05)
    for name, what in (("a-0.tar", {"one.txt", "d", "empty", "link"}), ("a-1.tar", {"d", "\udcff"})):
        for _ in range(2):
            with blobdir.mount(shards / "shards" / name, options=MountOptions(engine="kernel")) as mounted:
                assert set(os.listdir(mounted)) == what
