"""Loose files that have another size than the index beside a remote project says: nobody is given a cut one."""

import contextlib
import itertools
import os
import time

import fsspec
import pytest
from blob_builder import Builder
from servers import readable

import blobdir
from blobdir.cli.app import run
from blobdir.cli.output import human_bytes
from blobdir.errors import SourceChangedError
from blobdir.mounting import MountOptions
from blobdir.sources import RemoteOptions
from blobdir.testing.deadline import Deadline

PATH = "train/ann/1.jpg.json"
SIZES = (475, 1_663, 300_000, 700_001)  # two that are read whole, and two that are read in parts
CHANGES = list(itertools.permutations(SIZES, 2))


def content(size, letter):
    return (f'{{"{letter}": "' + letter * size)[: size - 2].encode() + b'"}'


@pytest.fixture
def replaced(nginx, tmp_path, monkeypatch):
    """Makes a project with an index beside it, whose annotation is then replaced; its URL."""
    monkeypatch.setenv("BLOBDIR_CACHE_DIR", str(tmp_path / "cache"))
    www, url, _ = nginx
    numbers = itertools.count()

    def make(old, new):
        name = f"{tmp_path.name}-{next(numbers)}"
        made = Builder(www / name)
        made.blob("train", "a", {"1.jpg": b"1" * 600})
        made.loose(PATH, content(old, "o"))
        assert run(["index", "-q", "--beside", str(made.root)]) == 0
        made.loose(PATH, content(new, "n"))
        readable(made.root)
        return f"{url}/{name}"

    return make


def opened(url):
    return fsspec.filesystem("blobdir", fo=url, skip_instance_cache=True)


def by_get(url, tmp_path):
    opened(url).get_file(PATH, str(tmp_path / "got"))
    return (tmp_path / "got").read_bytes()


def by_open(url, _, **options):
    with opened(url).open(PATH, **options) as file:
        return file.read()


def by_parts(url, _):
    with opened(url).open(PATH, block_size=100_000, cache_type="none") as file:
        return b"".join(iter(lambda: file.read(100_000), b""))


def by_cp(url, tmp_path, *, source=f"/{PATH}", got="got", option=()):
    assert run(["cp", "-q", *option, url + source, str(tmp_path / "got")]) == 0
    return (tmp_path / got).read_bytes()


def by_unpack(url, tmp_path):
    assert run(["unpack", "-q", url, str(tmp_path / "got")]) == 0
    return (tmp_path / "got" / PATH).read_bytes()


WAYS = {
    "cat_file": lambda url, _: opened(url).cat_file(PATH),
    "cat_file from the first byte": lambda url, _: opened(url).cat_file(PATH, 0, None),
    "cat_file of more than there is": lambda url, _: opened(url).cat_file(PATH, 0, 10**9),
    "cat_file of the last bytes": lambda url, _: opened(url).cat_file(PATH, -(10**9), None),
    "cat of many": lambda url, _: opened(url).cat([PATH, "train/img/1.jpg"])[PATH],
    "cat_ranges": lambda url, _: opened(url).cat_ranges(["train/img/1.jpg", PATH], 0, None, on_error="raise")[1],
    "get_file": by_get,
    "open": by_open,
    "open without a cache": lambda url, _: by_open(url, _, cache_type="none"),
    "open, in parts": by_parts,
    "cp": by_cp,
    "cp -r": lambda url, t: by_cp(url, t, source="/train", got="got/ann/1.jpg.json", option=["-r"]),
    "unpack": by_unpack,
}


@pytest.mark.parametrize("way", WAYS)
def test_all_of_it_or_an_error(replaced, tmp_path, way):
    for i, (old, new) in enumerate(CHANGES):
        (place := tmp_path / str(i)).mkdir()
        try:
            found = WAYS[way](replaced(old, new), place)
        except SourceChangedError:
            assert way.startswith("open"), "only who was told its size need be given an error"
            continue
        assert found == content(new, "n"), f"{len(found)} bytes of a file that had {old} and has {new}"


@pytest.mark.parametrize("part", [(-10, None), (-10, -2), (5, -3), (470, 480), (450_000, 450_010), (699_990, None)])
def test_a_part(replaced, part):
    for old, new in CHANGES:
        with contextlib.suppress(OSError):
            assert opened(replaced(old, new)).cat_file(PATH, *part) == content(new, "n")[slice(*part)]


def test_cat(replaced, capfdbinary):
    for old, new in CHANGES:
        assert run(["cat", f"{replaced(old, new)}/{PATH}"]) == 0
        assert capfdbinary.readouterr().out == content(new, "n")


def test_what_was_copied_is_counted(replaced, tmp_path, capfd):
    for i, (old, new) in enumerate(CHANGES):
        assert run(["cp", f"{replaced(old, new)}/{PATH}", str(tmp_path / str(i))]) == 0
        assert f"1 file, {human_bytes(new)} copied" in capfd.readouterr().err


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("engine", ["native", "fusepy"])
def test_mounts(replaced, tmp_path, engine, workers, monkeypatch):
    """A new opening of the file may give an error, and another one a moment later doesn't."""
    monkeypatch.setenv("BLOBDIR_STATE_DIR", str(tmp_path / "state"))
    (place := tmp_path / "mnt").mkdir()
    for old, new in ((475, 1_663), (1_663, 475), (300_000, 700_001), (700_001, 300_000)):
        url = replaced(old, new)
        options = MountOptions(engine=engine, workers=workers, remote=RemoteOptions(tmp_path / "cache"))
        with Deadline(60, tmp_path), blobdir.mount(url, place, options=options):
            expected = content(new, "n")
            for _ in range(40):
                try:
                    found = (place / PATH).read_bytes()
                except OSError:
                    found = None
                assert found in (None, expected), f"{len(found)} bytes of a file that had {old} and has {new}"
            time.sleep(0.3)
            assert (place / PATH).read_bytes() == expected
            assert os.stat(place / PATH).st_size == new
