"""Whatever links there are and whatever is renamed meanwhile: nothing outside a project is read, listed or told."""

from __future__ import annotations

import errno
import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from blobdir import inside
from blobdir.errors import LinkError
from blobdir.sources import LocalStorage

SECRET = b"SECRET"


@pytest.fixture(params=["kernel", "by parts"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "by parts":
        monkeypatch.setattr(inside, "_openat2", lambda: None)
    return str(request.param)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "p/docs/deep").mkdir(parents=True)
    (tmp_path / "p/docs/note.txt").write_bytes(b"mine")
    (tmp_path / "p/docs/deep/low.txt").write_bytes(b"mine")
    (tmp_path / "outside/deep").mkdir(parents=True)
    (tmp_path / "outside/note.txt").write_bytes(SECRET)
    (tmp_path / "outside/deep/low.txt").write_bytes(SECRET)
    (tmp_path / "outside/secret.txt").write_bytes(SECRET)
    (tmp_path / "p2").mkdir()
    (tmp_path / "p2/note.txt").write_bytes(SECRET)
    return tmp_path / "p"


LINKS = {
    "to a file": ("docs/note.txt", "x", b"mine"),
    "to a folder": ("docs", "x/note.txt", b"mine"),
    "up and down again": ("docs/../docs/./deep/../note.txt", "x", b"mine"),
    "absolute": ("{root}/docs/note.txt", "x", b"mine"),
    "absolute, to a folder": ("{root}/docs", "x/deep/low.txt", b"mine"),
    "absolute, by another name of the project": ("{parent}/alias/docs", "x/note.txt", b"mine"),
    "through another link": ("y/note.txt", "x", b"mine"),
    "out": ("../outside/note.txt", "x", None),
    "out, to a folder": ("../outside", "x/note.txt", None),
    "out and back in": ("../p/docs/note.txt", "x", None),
    "out, absolute": ("{parent}/outside", "x/note.txt", None),
    "to a neighbour with the same beginning": ("{root}2", "x/note.txt", None),
    "through another link, out": ("z/note.txt", "x", None),
    "to itself": ("x", "x", None),
    "to /proc": ("/proc/self/cwd", "x", None),
}


@pytest.mark.parametrize(("target", "path", "content"), LINKS.values(), ids=LINKS)
def test_links(way: str, root: Path, target: str, path: str, content: bytes | None) -> None:
    (root.parent / "alias").symlink_to(root)
    (root / "y").symlink_to("docs")
    (root / "z").symlink_to("../outside")
    (root / "x").symlink_to(target.format(root=root, parent=root.parent))
    storage = LocalStorage(str(root))
    for use in (storage.read, storage.stat, lambda p: storage.read_range(p, 0, 9), storage.open, storage.open_loose):
        try:
            found = use(path)
        except LinkError:
            assert content is None or (use == storage.open_loose and path == "x")
            continue
        assert content is not None
        if isinstance(found, bytes):
            assert found == content
    assert storage.folder("x").error is not None or content is not None


def test_links_that_are_to_be_followed(root: Path) -> None:
    (root / "z").symlink_to("../outside")
    assert LocalStorage(str(root), follow_links=True).read("z/note.txt") == SECRET


def test_links_to_folders_of_links_are_not_followed_without_end(root: Path) -> None:
    """Twenty folders with two links each have a million paths."""
    for i in reversed(range(20)):
        (root / f"d{i}/real").mkdir(parents=True)
        for name in ("a", "b"):
            (root / f"d{i}" / name).symlink_to(f"../d{i + 1}" if i < 19 else "../docs")
    folders = list(LocalStorage(str(root), follow_links=True).walk(follow_links=True))
    assert len(folders) < 1000
    assert {f"d{i}/real" for i in range(20)} <= {folder.path for folder in folders}


@pytest.mark.parametrize("path", ["gone", "gone/x", "docs/note.txt/x", "docs\0", "a" * 300, "/".join(["a"] * 3000)])
def test_what_is_not_there(way: str, root: Path, path: str) -> None:
    storage = LocalStorage(str(root))
    for use in (storage.read, storage.stat):
        with pytest.raises(OSError, match=str(root)) as caught:
            use(path)
        assert not isinstance(caught.value, LinkError)
        assert caught.value.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


def test_what_is_no_file(way: str, root: Path) -> None:
    os.mkfifo(root / "docs/pipe")
    storage = LocalStorage(str(root))
    with pytest.raises(OSError, match="Not a regular file"):
        storage.read("docs/pipe")
    with pytest.raises(IsADirectoryError):
        storage.read("docs")
    with pytest.raises(NotADirectoryError):
        os.close(inside.open_inside(str(root), "docs/pipe", folder=True))
    assert storage.stat("docs/pipe").kind == "other"
    assert storage.stat("").kind == "directory"


@pytest.mark.parametrize("size", [inside.WHOLE_BYTES + 1, 8 << 40])
def test_what_is_too_large_to_be_read_whole(root: Path, size: int) -> None:
    try:
        os.truncate(root / "docs/note.txt", size)
    except OSError:
        os.truncate(root / "docs/note.txt", 1 << 33)
    with pytest.raises(OSError, match="says that it has") as caught:
        LocalStorage(str(root)).read("docs/note.txt")
    assert caught.value.errno == errno.EFBIG


def test_no_descriptors_are_left_open(way: str, root: Path) -> None:
    (root / "x").symlink_to("../outside/note.txt")
    (root / "c").symlink_to("c")
    (root / "ok").symlink_to(root / "docs")
    storage = LocalStorage(str(root))
    gc.collect()  # what others have left may go in between
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for path in ("docs/note.txt", "x", "c", "gone", "docs", "ok/note.txt", "docs/note.txt/x"):
        for use in (storage.read, storage.stat, storage.folder):
            try:
                use(path)
            except OSError:
                continue
    assert before >= (len(os.listdir("/proc/self/fd")) if before else 0)


# ----------------------------------------------------------------------------------------- swapped at the right moment


def attempts(storage: LocalStorage) -> Iterator[Callable[[], Any]]:
    yield lambda: storage.read("docs/note.txt")
    yield lambda: storage.read("docs/deep/low.txt")
    yield lambda: storage.open_loose("docs/note.txt").read_at(0, 99)
    yield lambda: storage.folder("docs").entries
    yield lambda: storage.stat("docs/note.txt").size


def is_outside(found: Any) -> bool:
    if isinstance(found, list):
        return any(entry.name == "secret.txt" for entry in found)
    return bool(found in (SECRET, len(SECRET)))


class Swap:
    """Puts a link to outside in the place of a folder, and takes it away again."""

    def __init__(self, root: Path) -> None:
        self.place, self.aside, self.evil = (str(root / "docs"), str(root / ".aside"), str(root / ".evil"))
        os.symlink(root.parent / "outside", self.evil)
        self.is_evil = False

    def __call__(self) -> None:
        first, then = (self.evil, self.aside) if self.is_evil else (self.aside, self.evil)
        os.rename(self.place, first)
        os.rename(then, self.place)
        self.is_evil = not self.is_evil


@pytest.mark.parametrize("number", range(5))
def test_swapped_between_any_two_calls(way: str, root: Path, number: int) -> None:
    storage, swap = LocalStorage(str(root)), Swap(root)
    attempt = list(attempts(storage))[number]
    count, chosen = 0, ()

    def profile(_frame: object, event: str, called: Any) -> None:
        nonlocal count
        if event == "c_call" and getattr(called, "__module__", "") in ("posix", "io", "_io"):
            count += 1
            if count in chosen:
                sys.setprofile(None)
                swap()
                sys.setprofile(profile)

    def run(*moments: int) -> Any:
        nonlocal count, chosen
        count, chosen = 0, moments
        sys.setprofile(profile)
        try:
            return attempt()
        except OSError:
            return None
        finally:
            sys.setprofile(None)
            if swap.is_evil:
                swap()

    assert not is_outside(run())
    steps = count
    assert steps > 1
    for first in range(1, steps + 1):
        for second in range(first + 1, steps + 2):
            assert not is_outside(run(first, second))


def test_swapped_thousands_of_times_meanwhile(way: str, root: Path) -> None:
    storage, swap = LocalStorage(str(root)), Swap(root)
    stop = threading.Event()

    def swap_on() -> None:
        while not stop.is_set():
            swap()

    thread = threading.Thread(target=swap_on)
    before, seen = sys.getswitchinterval(), 0
    sys.setswitchinterval(1e-5)
    thread.start()
    try:
        for _ in range(1000):
            for attempt in attempts(storage):
                try:
                    found = attempt()
                except OSError:
                    continue
                assert not is_outside(found)
                seen += bool(found)
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(before)
    assert seen
