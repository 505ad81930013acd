"""Symbolic links lead where they do on the disk: `LocalFileSystem` is the judge. Only what leads out is an error."""

import os

import pytest
from fsspec.implementations.local import LocalFileSystem
from linked_trees import OUT, make_tree, paths_of, walk

from blobdir import BlobDirFileSystem
from blobdir.errors import IncompleteListingError, LinkError
from blobdir.sources import LocalStorage

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")
SEEDS = range(30)


def outcome(read):
    try:
        return read()
    except OSError as error:
        return error


@pytest.fixture
def root(tmp_path):
    (tmp_path / "p").mkdir()
    return tmp_path.resolve() / "p"


@pytest.mark.parametrize("follow_links", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_random_links(root, seed, follow_links):
    make_tree(root, seed)
    fs = BlobDirFileSystem(root, index="none", follow_links=follow_links, skip_instance_cache=True)
    storage, local = LocalStorage(str(root)), LocalFileSystem()
    for path in paths_of(root):
        wanted = outcome(lambda path=path: local.cat_file(f"{root}/{path}"))
        place = outcome(lambda path=path: walk(root, path))
        ours = outcome(lambda path=path: fs.cat_file(path))
        inside = outcome(lambda path=path: storage.read(path))
        if place == OUT and not follow_links:
            assert not isinstance(ours, bytes | FileNotFoundError), (path, ours)
            assert isinstance(inside, LinkError), (path, inside)
            continue
        if not isinstance(wanted, bytes):
            assert not isinstance(ours, bytes), (path, ours, wanted)
            assert not isinstance(inside, bytes), (path, inside, wanted)
            continue
        if place != OUT:
            assert inside == wanted, path
        # A folder of the format that is a link in a circle can't be shown, nor what is behind it.
        assert ours == wanted or isinstance(ours, IncompleteListingError) or place == OUT, (path, ours, wanted)
        assert not isinstance(ours, bytes) or ours == wanted, (path, ours, wanted)


@pytest.mark.parametrize("by_parts", [False, True])
@pytest.mark.parametrize(
    ("link", "target", "wanted"),
    {
        "absolute, up behind a link": ("x", "{root}/short/../f.png", "d1/f.png"),
        "absolute, by an alias": ("x", "{root}/../alias/short/../f.png", OUT),
        "by an alias": ("x", "{above}/alias/short/../f.png", "d1/f.png"),
        "into the project": ("x", "{above}/into/../f.png", "d1/f.png"),
        "out behind a link": ("a/b/x", "t/../../f.png", OUT),
        "in by the letter only": ("x", "short/../../f.png", "f.png"),
        "out and in": ("x", "../p/f.png", OUT),
        "in a folder that is a link": ("other/img/x", "../raw/f.png", "other/raw/f.png"),
        "up from a folder that is a link": ("x", "ds/img/../raw/f.png", "other/raw/f.png"),
        "a file, and a slash": ("x", "f.png/", NotADirectoryError),
        "a file, and a dot": ("x", "f.png/.", NotADirectoryError),
        "up from a file": ("x", "f.png/../f.png", NotADirectoryError),
    }.values(),
)
def test_links_of_a_kind(root, link, target, wanted, by_parts, monkeypatch):
    for path in ("f.png", "d1/f.png", "d1/d2/f.png", "a/b/f.png", "top/f.png", "other/raw/f.png", "other/img/y.png"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)
    (root / "meta.json").write_text("{}")
    (root / "ds/ann").mkdir(parents=True)
    (root / "ds/ann/y.png.json").write_text("{}")
    (root / "ds/img").symlink_to("../other/img")
    (root / "short").symlink_to("d1/d2")
    (root / "a/b/t").symlink_to("../../top")
    (root.parent / "f.png").write_text("out")
    (root.parent / "alias").symlink_to(root)
    (root.parent / "into").symlink_to(root / "d1/d2")
    (root / link).symlink_to(target.format(root=root, above=root.parent))
    if by_parts:
        monkeypatch.setattr("blobdir.inside._openat2", lambda: None)
    fs = BlobDirFileSystem(root, index="none", skip_instance_cache=True)
    ways = [link] if not link.startswith("other/img/") else [link, link.replace("other/img", "ds/img")]
    for way in ways:
        for read in (fs.cat_file, LocalStorage(str(root)).read):
            if isinstance(wanted, str) and wanted != OUT:
                assert read(way) == wanted.encode() == (root / way).read_bytes()
                continue
            with pytest.raises(LinkError if wanted == OUT else wanted):
                read(way)
    assert isinstance(wanted, type) or os.path.exists(root / link)
