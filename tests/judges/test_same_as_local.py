"""A blob project answers as a plain folder with the same files does: `LocalFileSystem` is the judge."""

import os
from dataclasses import dataclass

import numpy as np
import pytest
from fsspec import AbstractFileSystem
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from project_factory import files_below, make_project, plain_copy

from blobdir import BlobDirFileSystem
from blobdir.errors import UsageError

FILES = {
    "README.md": b"read me",
    "train/img/a.jpg": b"a" * 700,
    "train/img/b.jpg": bytes(range(256)) * 5,
    "train/img/ba.png": b"png",
    "train/img/empty.jpg": b"",
    "train/img/plain.png": b"plain",
    "train/img/sub/c.jpg": b"c",
    "train/img/sub/deep/d.jpg": b"dd",
    "train/img/sp ace.jpg": b"space",
    "train/img/ü.jpg": b"umlaut",
    "train/img/x{1}.jpg": b"braces",
    "train/img/sub.jpg": b"beside sub",
    "train/ann/a.jpg.json": b"{}",
    "train/ann/b.jpg.json": b'{"b": 1}',
    "train/datasets/hard/img/a.jpg": b"another a",
    "train/datasets/hard/ann/a.jpg.json": b"[]",
    "test/img/z.jpg": b"z" * 3000,
    "test/img/b/blob.jpg": b"in a folder",
    "test/ann/z.jpg.json": b"{}",
}
LINKS = {
    "train/img/link.jpg": "a.jpg", "train/linked": "img", "all": "train", "train/img/sub/up": "..", "train/img/me": ".",
    "train/ann/readme.json": "../../README.md",
    "train/img/deep": "sub/deep", "test/img/far.jpg": "../../all/linked/sub/c.jpg",
}  # fmt: skip
"""Symbolic links, for the project on this machine."""
PLACES = sorted({"/".join(path.split("/")[:n]) for path in [*FILES, *LINKS] for n in range(path.count("/") + 2)})
ERRORS = (FileNotFoundError, NotADirectoryError, IsADirectoryError, FileExistsError, ValueError, OSError)


class Plain(LocalFileSystem):
    """`LocalFileSystem` makes no folders when it copies out; every other filesystem of fsspec does."""

    get_file = AbstractFileSystem.get_file


@dataclass
class Pair:
    """The two filesystems."""

    ours: BlobDirFileSystem
    local: DirFileSystem


@pytest.fixture(scope="module", params=["local", "links", "memory"])
def pair(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("pair")
    make_project(root / "blobs", FILES, blobs=2, loose=["train/img/plain.png", "train/img/sub/c.jpg"])
    plain_copy(root / "plain", FILES)
    local = DirFileSystem(str(root / "plain"), Plain())
    if request.param == "links":
        for folder in ("blobs", "plain"):
            for path, target in LINKS.items():
                place = root / folder / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(target)
    if request.param != "memory":
        yield Pair(BlobDirFileSystem(root / "blobs", index="none"), local)
        return
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.put(str(root / "blobs"), "/pair", recursive=True)
    yield Pair(BlobDirFileSystem("memory://pair"), local)
    memory.rm("/pair", recursive=True)


def outcome(call):
    """What a call gives, or which builtin error it raises."""
    try:
        return call()
    except ERRORS as error:
        return next(kind for kind in ERRORS if isinstance(error, kind))


def same(pair, path, call, view=lambda found: found):
    """Whether both give the same, ours also with a slash before the path."""
    local = outcome(lambda: view(call(pair.local, path)))
    assert outcome(lambda: view(call(pair.ours, path))) == local
    if isinstance(path, str):
        assert outcome(lambda: view(call(pair.ours, f"/{path}"))) == local


def brief(info):
    if info.get("islink") and info["type"] in ("other", "link"):  # the judge's entries don't say what links lead to
        target = info["destination"]
        is_file = target.endswith((".jpg", ".md"))
        info = info | ({"type": "file"} if is_file else {"type": "other", "size": 0})
    return info["name"].strip("/"), info["type"], 0 if info["type"] == "directory" else info["size"]


def listing(found):
    if isinstance(found, dict):
        return {key.strip("/"): brief(info) for key, info in found.items() if key}
    return sorted(brief(one) if isinstance(one, dict) else one.strip("/") for one in found if one)


def steps(found):
    return [(path.strip("/"), sorted(folders), sorted(files)) for path, folders, files in found]


@st.composite
def paths(draw):
    """What is there, what isn't, and other ways to write either."""
    path = draw(st.sampled_from(PLACES))
    end = draw(st.sampled_from(["", "", "", "", "/", "/nothing", "x", "/nothing/at/all", "/a.jpg", "/sub/c.jpg"]))
    return path + end if path else end.strip("/")


@st.composite
def patterns(draw):
    """A path with some of it made vague."""
    parts = draw(st.sampled_from(PLACES)).split("/")
    for i in range(len(parts)):
        how = draw(st.sampled_from(["keep", "keep", "star", "question", "class", "not", "deep", "start", "end"]))
        name = parts[i]
        vague = {
            "keep": name,
            "star": "*",
            "deep": "**",
            "question": "?" + name[1:],
            "class": f"[{name[:1] or 'a'}-z]{name[1:]}",
            "not": f"[!q]{name[1:]}",
            "start": name[:2] + "*",
            "end": "*" + name[-3:],
        }
        parts[i] = vague[how]
    return ("/".join(parts) + draw(st.sampled_from(["", "", "", "/", "/*", "/**"]))).lstrip("/") or "*"


many = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@many
@given(path=paths(), detail=st.booleans())
def test_ls_and_info(pair, path, detail):
    same(pair, path, lambda fs, path: fs.ls(path, detail=detail), listing)
    same(pair, path, lambda fs, path: fs.info(path), brief)
    for ask in ("exists", "isfile", "isdir", "lexists"):
        same(pair, path, lambda fs, path, ask=ask: getattr(fs, ask)(path))


@many
@given(path=paths(), withdirs=st.booleans(), detail=st.booleans(), maxdepth=st.none() | st.integers(0, 4))
def test_find(pair, path, withdirs, detail, maxdepth):
    same(pair, path, lambda fs, path: fs.find(path, maxdepth=maxdepth, withdirs=withdirs, detail=detail), listing)


@many
@given(
    path=paths(),
    topdown=st.booleans(),
    maxdepth=st.none() | st.integers(0, 4),
    on_error=st.sampled_from(["omit", "raise"]),
)
def test_walk(pair, path, topdown, maxdepth, on_error):
    def walked(found):
        return sorted(steps(found))

    same(pair, path, lambda fs, path: fs.walk(path, maxdepth=maxdepth, topdown=topdown, on_error=on_error), walked)
    same(pair, path, lambda fs, path: fs.walk(path, maxdepth=maxdepth, topdown=topdown, detail=True), walked)


@many
@given(pattern=patterns(), maxdepth=st.none() | st.integers(1, 4))
def test_glob(pair, pattern, maxdepth):
    root = f"{pair.local.path}/"  # a DirFileSystem would take the slash off the pattern's end
    local = {
        path.removeprefix(root): info
        for path, info in pair.local.fs.glob(root + pattern, maxdepth=maxdepth, detail=True).items()
        if path.startswith(root)
    }
    for ours in (pattern, f"/{pattern}"):
        assert pair.ours.glob(ours, maxdepth=maxdepth) == sorted(local)
        found = pair.ours.glob(ours, maxdepth=maxdepth, detail=True)
        assert {path: brief(info)[1] for path, info in found.items()} == {
            p: brief(info)[1] for p, info in local.items()
        }


@many
@given(pattern=patterns() | paths(), recursive=st.booleans(), maxdepth=st.none() | st.integers(1, 3))
def test_expand_path(pair, pattern, recursive, maxdepth):
    same(pair, pattern, lambda fs, path: fs.expand_path(path, recursive=recursive, maxdepth=maxdepth), listing)


@many
@given(path=paths(), total=st.booleans(), maxdepth=st.none() | st.integers(1, 3), withdirs=st.booleans())
def test_du_and_sizes(pair, path, total, maxdepth, withdirs):
    def files_only(found):  # a folder has a size of its own on disk
        if isinstance(found, dict):
            return {name.strip("/"): size for name, size in found.items() if not pair.local.isdir(name)}
        return found

    if total:  # the judge counts what a link to a folder takes itself
        sizes = outcome(lambda: files_only(pair.local.du(path, total=False, maxdepth=maxdepth)))
        assert outcome(lambda: pair.ours.du(path, maxdepth=maxdepth)) == (
            sum(sizes.values()) if isinstance(sizes, dict) else sizes
        )
    if not total:
        same(pair, path, lambda fs, path: fs.du(path, total=False, maxdepth=maxdepth, withdirs=withdirs), files_only)
    if not pair.local.isdir(path):
        same(pair, path, lambda fs, path: fs.size(path))
        same(pair, path, lambda fs, path: fs.sizes([path, "README.md"]))


@st.composite
def odd_paths(draw):
    """The same places, written as nobody should, or with what no name can have."""
    parts = draw(st.sampled_from(PLACES)).split("/")
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(parts)))
        parts.insert(at, draw(st.sampled_from(["", ".", "..", "train/..", "x", "..", "img", "\ud800", "\udcff"])))
    return "/".join(parts)


@many
@given(path=odd_paths())
def test_odd_paths(pair, path):
    """All ways to ask agree, and with the judge, where the path stays inside."""
    root = pair.local.path
    inside = os.path.normpath(os.path.join(root, path.lstrip("/"))).startswith(root)
    for ask in ("exists", "isfile", "isdir", "cat_file", "size"):
        asked = outcome(lambda ask=ask: getattr(pair.ours, ask)(path))
        if inside and "\ud800" not in path and not os.path.isdir(os.path.join(root, path.lstrip("/"))):
            assert asked == outcome(lambda ask=ask: getattr(pair.local.fs, ask)(f"{root}/{path.strip('/')}"))
    exists = pair.ours.exists(path)
    found = outcome(lambda: pair.ours.info(path))
    assert isinstance(found, dict) == exists
    assert bool(outcome(lambda: pair.ours.ls(path, detail=False)) not in ERRORS) == exists
    assert bool(pair.ours.find(path, withdirs=True)) == exists or pair.ours.isdir(path)
    opened = outcome(lambda: pair.ours.open(path).read())
    assert isinstance(opened, bytes) == pair.ours.isfile(path)
    many = pair.ours.cat([path] * 70, on_error="return")
    assert [isinstance(value, bytes) for value in many.values()] == [pair.ours.isfile(path)]


bounds = st.none() | st.integers(-900, 900)


@many
@given(path=paths(), start=bounds, end=bounds, size=st.integers(0, 900))
def test_bytes_of_one(pair, path, start, end, size):
    same(pair, path, lambda fs, path: fs.cat_file(path))
    whole = outcome(lambda: pair.local.cat_file(path))
    if isinstance(whole, bytes):
        assert pair.ours.cat_file(path, start, end) == whole[start:end]
        assert pair.ours.cat_ranges([path], [start], [end]) == [whole[start:end]]
    same(pair, path, lambda fs, path: fs.open(path).read())
    same(pair, path, lambda fs, path: fs.head(path, size))
    same(pair, path, lambda fs, path: fs.tail(path, size))
    same(pair, path, lambda fs, path: fs.read_bytes(path))
    if not isinstance(whole, bytes) or abs(start or 0) <= len(whole):
        same(pair, path, lambda fs, path: fs.read_block(path, abs(start or 0), size))


def kind(value):
    """The value, or the builtin kind of error that it is."""
    return next(kind for kind in ERRORS if isinstance(value, kind)) if isinstance(value, Exception) else value


@settings(many, max_examples=60)
@given(wanted=st.lists(st.tuples(paths(), bounds, bounds), max_size=6), on_error=st.sampled_from(["raise", "return"]))
def test_cat_ranges(pair, wanted, on_error):
    whole = {path: outcome(lambda path=path: pair.local.cat_file(path)) for path, _, _ in wanted}
    expected = [w[s:e] if isinstance(w := whole[p], bytes) else w for p, s, e in wanted]
    if on_error == "raise" and (errors := [e for e in expected if not isinstance(e, bytes)]):
        expected = errors[0]
    lists = [list(part) for part in zip(*wanted, strict=True)] or [[], [], []]
    assert outcome(lambda: [kind(found) for found in pair.ours.cat_ranges(*lists, on_error=on_error)]) == expected


@settings(many, max_examples=60)
@given(st.lists(paths(), max_size=4), bounds, bounds, st.sampled_from(["raise", "omit", "return"]))
def test_ranges_of_many(pair, wanted, start, end, on_error):
    def read(**limits):
        return {path: kind(data) for path, data in pair.ours.cat(wanted, on_error=on_error, **limits).items()}

    expected = outcome(read)
    if isinstance(expected, dict):
        expected = {path: data[start:end] if isinstance(data, bytes) else data for path, data in expected.items()}
    found = outcome(lambda: read(start=start, end=end))
    assert found == expected or (found in ERRORS and expected in ERRORS)  # of several, either is said


@pytest.mark.parametrize("given", ["train/img/*.jpg", ["train/img/?.jpg", "README.md"], ("README.md",), "train/ann"])
def test_ranges_of_what_is_given_in_any_way(pair, given):
    recursive = given == "train/ann"
    whole = pair.ours.cat(given, recursive=recursive)
    assert whole
    for start, end in ((2, 5), (None, 3), (-2, None), (0, 0)):
        found = pair.ours.cat(given, recursive=recursive, start=start, end=end)
        assert found == {path: data[start:end] for path, data in whole.items()}


@pytest.mark.parametrize("number", [np.int64, np.uint8, np.int16, np.array])
def test_ranges_by_numbers_of_numpy(pair, number):
    paths = ["train/img/b.jpg", "train/ann/b.jpg.json", "train/img/plain.png"]
    expected = [pair.ours.cat_file(path)[1:4] for path in paths]
    one, four = number(1), number(4)
    assert pair.ours.cat_ranges(paths, one, four) == expected
    assert pair.ours.cat_ranges(paths, np.array([1] * 3), [four] * 3) == expected
    assert [pair.ours.cat_file(path, one, four) for path in paths] == expected
    assert [*pair.ours.cat(paths, start=one, end=four).values()] == expected
    assert pair.ours.cat_ranges(paths[:1], np.array([1]), np.array([4])) == expected[:1]


@settings(many, max_examples=100)
@given(
    # not the root, which has a name in the local filesystem, and would be copied into a folder of that name
    source=paths().filter(bool) | patterns() | st.lists(paths().filter(bool), min_size=1, max_size=3),
    target=st.sampled_from(["new", "new/", "there", "there/", "new/below", "there/below/"]),
    recursive=st.booleans(),
    maxdepth=st.none() | st.integers(1, 2),
)
def test_get(pair, source, target, recursive, maxdepth, tmp_path_factory):
    def got(fs, source):
        out = tmp_path_factory.mktemp("out")
        (out / "there").mkdir()
        end = "/" if target.endswith("/") else ""
        if fs is pair.local:  # the folder itself: a DirFileSystem would take the slash off the path's end
            fs, root = fs.fs, fs.path
            source = [f"{root}/{name}" for name in source] if isinstance(source, list) else f"{root}/{source}"
        fs.get(source, str(out / target) + end, recursive=recursive, maxdepth=maxdepth)
        return files_below(out), sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_dir())

    if isinstance(source, list) and loses(pair, source, recursive, maxdepth):
        with pytest.raises((FileNotFoundError, NotADirectoryError, UsageError)):  # there, less without a word
            got(pair.ours, source)
        return
    same(pair, source, got)


def loses(pair, source, recursive, maxdepth):
    """Whether some of a list isn't there, or is put where another file of it is."""
    if not all(map(pair.local.exists, source)):
        return True
    found = pair.local.expand_path(source, recursive=recursive, maxdepth=maxdepth)
    names = [os.path.basename(path) for path in found if pair.local.isfile(path)]
    return len(set(names)) < len(names)


def test_get_file(pair, tmp_path):
    for name in ("train/img/b.jpg", "train/ann/b.jpg.json", "train/img/empty.jpg"):
        pair.ours.get_file(name, str(tmp_path / "new" / os.path.basename(name)))
        assert (tmp_path / "new" / os.path.basename(name)).read_bytes() == FILES[name]
