"""Indexes of tars are kept; what has changed is seen, and what hasn't isn't scanned again."""

from __future__ import annotations

import datetime
import os
import random
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest

import blobdir
from blobdir.discovery import tars
from blobdir.index.table import COLUMNS
from blobdir.opening import OpenOptions, choosing, open_tree
from blobdir.tree import Tree

Tar = Callable[..., Path]
TICK_S = 0.03


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the tars that were scanned."""
    found: list[str] = []
    scan = tars.scan_what_is_whole

    def noted(source, **more):  # type: ignore[no-untyped-def]  # as the real one
        found.append(os.path.basename(source.path))
        return scan(source, **more)

    monkeypatch.setattr(tars, "scan_what_is_whole", noted)
    return found


@pytest.fixture(params=["cache", "named"])
def index(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the index is kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(choosing, "STORE_ROWS", 1)
    return "auto" if request.param == "cache" else str(tmp_path / "ix")


@pytest.fixture
def shards(tar: Tar, tmp_path: Path) -> Path:
    for number in range(3):
        tar(f"s/{number}.tar", {f"d/{number}.jpg": b"x" * (number + 1), f"{number}": b"", f"f{number}/": b""})
    time.sleep(TICK_S)
    return tmp_path / "s"


def test_an_index_that_is_true_is_used(shards: Path, scans: list[str], index: str) -> None:
    first = blobdir.open_project(shards / "*.tar", index=index).filesystem
    assert scans == ["0.tar", "1.tar", "2.tar"]
    again = blobdir.open_project(shards / "*.tar", index=index).filesystem
    assert len(scans) == 3 and again.find("") == first.find("") and again.cat("d/2.jpg") == b"xxx"
    assert {path.name for path in shards.iterdir()} == {"0.tar", "1.tar", "2.tar"}


def test_other_patterns_and_options_have_indexes_of_their_own(shards: Path, scans: list[str], index: str) -> None:
    for pattern, how in (("*.tar", "error"), ("{0..1}.tar", "error"), ("0.tar", "error"), ("0.tar", "skip")):
        fs = blobdir.open_project(shards / pattern, index=index, on_conflict=how).filesystem
        assert fs.exists("d/2.jpg") == (pattern == "*.tar")


def add(folder: Path, tar: Tar) -> list[str]:
    tar("s/3.tar", {"d/3.jpg": b"new"})
    return ["3.tar"]


def change(folder: Path, tar: Tar) -> list[str]:
    tar("s/1.tar", {"d/1.jpg": b"changed"})
    return ["1.tar"]


def same_size(folder: Path, tar: Tar) -> list[str]:
    then = (folder / "1.tar").stat()
    data = (folder / "1.tar").read_bytes()
    (folder / "1.tar").write_bytes(data.replace(b"d/1.jpg", b"d/7.jpg", 1).replace(b"xx", b"yy", 1))
    os.utime(folder / "1.tar", ns=(then.st_atime_ns, then.st_mtime_ns))
    return ["1.tar"]


def remove(folder: Path, tar: Tar) -> list[str]:
    (folder / "1.tar").unlink()
    return []


def rename(folder: Path, tar: Tar) -> list[str]:
    (folder / "1.tar").rename(folder / "9.tar")
    return ["9.tar"]


@pytest.mark.parametrize("do", [add, change, remove, rename])
def test_what_changes_is_seen_and_only_that_is_scanned(
    shards: Path, tar: Tar, scans: list[str], index: str, do: Callable[[Path, Tar], list[str]]
) -> None:
    fs = blobdir.open_project(shards / "*.tar", index=index).filesystem
    scans.clear()
    expected = do(shards, tar)
    time.sleep(TICK_S)
    again = blobdir.open_project(shards / "*.tar", index=index)
    assert scans == expected
    same(again.tree, fresh(shards / "*.tar"))
    scans.clear()
    fs.invalidate_cache()
    assert fs.find("") == again.filesystem.find("") and scans == []


def test_a_tar_that_was_written_to_with_its_time_set_back_is_seen(
    shards: Path, tar: Tar, scans: list[str], index: str
) -> None:
    blobdir.open_project(shards / "*.tar", index=index)
    scans.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its checksum is wrong now
        same_size(shards, tar)
        time.sleep(TICK_S)
        blobdir.open_project(shards / "*.tar", index=index)
    assert scans == ["1.tar"]


def test_an_instance_that_is_asked_for_again_sees_a_new_tar(shards: Path, tar: Tar) -> None:
    fs = fsspec.filesystem("blobdir", fo=str(shards / "*.tar"))
    assert not fs.exists("d/3.jpg")
    add(shards, tar)
    fs._looked_s -= 10
    assert fsspec.filesystem("blobdir", fo=str(shards / "*.tar")) is fs and fs.cat("d/3.jpg") == b"new"


def test_a_tar_behind_a_backend_is_scanned_once(shards: Path, scans: list[str], index: str) -> None:
    fs = fsspec.filesystem("memory")
    for path in shards.iterdir():
        fs.put_file(str(path), f"kept/{path.name}")
        fs.store[f"/kept/{path.name}"].created -= datetime.timedelta(minutes=1)
    for _ in range(2):
        assert blobdir.open_project("memory://kept/*.tar", index=index).filesystem.cat("d/2.jpg") == b"xxx"
        assert len(scans) == 3
    fs.put_file(str(shards / "2.tar"), "kept/3.tar")
    blobdir.open_project("memory://kept/*.tar", index=index)
    assert len(scans) == 4
    fs.rm("kept", recursive=True)


def fresh(place: Path, **options: str) -> Tree:
    return blobdir.open_project(place, index="none", **options).tree


def same(found: Tree, wanted: Tree) -> None:
    """Whether two trees have the same rows, and say the same."""
    for column in COLUMNS:
        assert np.array_equal(getattr(found.index, column), getattr(wanted.index, column)), column
    left, right = (replace(tree.index.header, built_ns=0) for tree in (found, wanted))
    assert left == right


@pytest.mark.parametrize("how", ["error", "skip", "replace", "rename"])
@pytest.mark.parametrize("seed", range(6))
def test_an_index_with_tars_from_an_older_one_is_that_of_a_new_scan(
    tar: Tar, tmp_path: Path, seed: int, how: str
) -> None:
    rng = random.Random(seed)

    def write(number: int) -> None:
        names = [f"{rng.choice(['', 'd/', 'd/e/', 'g/'])}{rng.randrange(40)}" for _ in range(rng.randrange(1, 8))]
        members = {name: bytes(rng.randrange(3)) for name in names}
        members |= {f"{rng.choice(['empty', 'd'])}/": b""} if rng.random() < 0.3 else {}
        links = {f"l{rng.randrange(2)}": rng.choice("ab")} if rng.random() < 0.3 else {}
        path = tar(f"s/{number:02d}.tar", members, links)
        if rng.random() < 0.2:
            os.truncate(path, path.stat().st_size - rng.choice([512, 10_240]))

    for number in range(6):
        write(number)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(4):
            time.sleep(TICK_S)
            options = OpenOptions(replace(OpenOptions().discovery, on_conflict=how), str(tmp_path / "ix"))  # type: ignore[arg-type]  # checked there
            same(open_tree(tmp_path / "s/*.tar", options=options), fresh(tmp_path / "s/*.tar", on_conflict=how))
            write(rng.randrange(8))
