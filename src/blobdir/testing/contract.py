"""The contract: what every face of a project shows is what the plain folder shows.

Inherit from `ViewContract`, or for a mount from `blobdir.testing.mount_contract.MountContract`, and give two fixtures:
``face``, a `Face` of a project, and ``plain``, a `FolderFace` of the same files as plain ones, with the times and
modes that they should have::

    class TestMyFace(ViewContract):
        @pytest.fixture(scope="class")
        @classmethod
        def face(cls, project): ...
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from blobdir.testing.faces import Face, FolderFace


def walk(face: Face, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield (path, kind) of everything below a directory."""
    for name in sorted(face.names(path)):
        below = f"{path}/{name}" if path else name
        kind = face.kind(below)
        yield below, kind
        if kind == "directory":
            yield from walk(face, below)


def files(face: Face) -> list[str]:
    """Paths of all files."""
    return [path for path, kind in walk(face) if kind == "file"]


class ViewContract:
    """What holds for every face."""

    def test_the_same_names_and_kinds(self, face: Face, plain: FolderFace) -> None:
        assert list(walk(face)) == list(walk(plain))

    def test_no_name_twice(self, face: Face, plain: FolderFace) -> None:
        for path, kind in walk(plain):
            if kind == "directory":
                names = face.names(path)
                assert len(names) == len(set(names))

    def test_the_same_bytes(self, face: Face, plain: FolderFace) -> None:
        for path in files(plain):
            assert face.read(path) == plain.read(path), path

    def test_the_same_sizes_times_and_modes(self, face: Face, plain: FolderFace) -> None:
        for path in files(plain):
            assert face.size(path) == plain.size(path), path
            assert abs(face.mtime_ns(path) - plain.mtime_ns(path)) < 1000, path
            assert face.mode(path) == plain.mode(path) & 0o555, path

    def test_the_same_links(self, face: Face, plain: FolderFace) -> None:
        for path, kind in walk(plain):
            if kind == "link":
                assert face.target(path) == plain.target(path)

    def test_ranges_are_slices(self, face: Face, plain: FolderFace) -> None:
        chosen = random.Random(1)
        for path in files(plain):
            data = plain.read(path)
            for _ in range(5):
                start = chosen.randrange(len(data) + 10)
                end = start + chosen.randrange(len(data) + 10)
                assert face.read(path, start, end) == data[start:end], (path, start, end)

    @pytest.mark.parametrize("path", ["none", "none/none", "train/none", "train/img/none.jpg", "train/img/none.jpg/x"])
    def test_what_isnt_there(self, face: Face, path: str) -> None:
        for _ in range(2):
            with pytest.raises(FileNotFoundError):
                face.read(path)
            with pytest.raises(FileNotFoundError):
                face.kind(path)

    def test_a_file_is_no_directory(self, face: Face) -> None:
        with pytest.raises(NotADirectoryError):
            face.names("meta.json")
        with pytest.raises((NotADirectoryError, FileNotFoundError)):
            face.read("meta.json/x")

    def test_a_directory_has_no_bytes(self, face: Face) -> None:
        with pytest.raises(IsADirectoryError):
            face.read("train")

    def test_many_readers(self, face: Face, plain: FolderFace) -> None:
        expected = {path: plain.read(path) for path in files(plain)}

        def read(seed: int) -> list[str]:
            paths = random.Random(seed).choices(sorted(expected), k=150)
            return [path for path in paths if face.read(path) != expected[path]]

        with ThreadPoolExecutor(8) as pool:
            assert [path for wrong in pool.map(read, range(8)) for path in wrong] == []
