"""A blob all of whose images are in conflict with another's: nothing leads to it, and it's looked at all the same."""

import shutil
import warnings

import pytest
from folder_bucket import files

from blobdir.errors import BlobdirWarning, PackError
from blobdir.moving import fetch, push
from blobdir.packing import SubsetOptions, create_project, merge, subset

URL = "tested://up"
CHOSEN = {
    "all": None,
    "the dataset": SubsetOptions(datasets=("train",)),
    "some": SubsetOptions(datasets=("train",), patterns=("train/1*",)),
}


def spoil(root, fault):
    """Name every image of a blob once more, in a blob that can't serve it."""
    (pickle,) = (path for path in (root / "train").iterdir() if path.name.endswith("_offsets.pkl"))
    shutil.copy(pickle, root / "train/other_offsets.pkl")
    size = 20_000
    if fault != "missing":
        data = {"compressed": b"\x1f\x8b" + bytes(size), "no tar": b"x" * size, "another tar": b""}[fault]
        (root / "blob/other.tar").write_bytes(data or _another(root))


def _another(root):
    """A sound tar in which the offsets don't fit."""
    blob = next(path for path in sorted((root / "blob").glob("*.tar")) if path.name.startswith("train"))
    return bytes(512) + blob.read_bytes()


@pytest.fixture
def spoiled(small, fault):
    spoil(small, fault)
    return small


def created(path):
    create_project(path)
    return path


COMMANDS = {
    "push": lambda root, tmp: push(root, URL, delete=True),
    "push --dry-run": lambda root, tmp: push(root, URL, delete=True, dry_run=True),
    "push --no-index": lambda root, tmp: push(root, URL, delete=True, index=False),
    "subset": lambda root, tmp: subset(root, tmp / "made"),
    "subset some": lambda root, tmp: subset(root, tmp / "made", CHOSEN["some"]),
    "merge": lambda root, tmp: merge(created(tmp / "other"), root),
}


@pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")
@pytest.mark.parametrize("fault", ["missing", "compressed", "no tar", "another tar"])
@pytest.mark.parametrize("command", COMMANDS)
def test_it_is_refused_before_anything_is_touched(bucket, small, tmp_path, command, fault):
    push(small, URL)
    before = files(bucket)
    spoil(small, fault)
    with pytest.raises(PackError, match=r"other(\.tar|_offsets)"):
        COMMANDS[command](small, tmp_path)
    assert files(bucket) == before
    assert not (bucket / ".blobdir/pushing.json").exists()
    assert not (tmp_path / "made").exists()


@pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")
@pytest.mark.parametrize("fault", ["missing", "compressed", "no tar", "another tar"])
@pytest.mark.parametrize("chosen", CHOSEN)
def test_it_is_not_fetched(bucket, spoiled, tmp_path, chosen, fault):
    assert push(spoiled, URL, with_defects=True).complete
    assert (bucket / ".blobdir/index.tar").exists()  # what everybody misses keeps nobody from an index
    with pytest.raises(PackError, match=r"other(\.tar|_offsets)"):
        fetch(URL, tmp_path / "got", choose=CHOSEN[chosen])
    assert not list(tmp_path.glob("got*"))
    fetch(URL, tmp_path / "got", choose=SubsetOptions(datasets=("val",)))


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("chosen", ["all", "the dataset"])
def test_conflicts_that_are_copied_are_told(bucket, small, tmp_path, index, chosen):
    """They cost their images only, so they refuse nothing."""
    (pickle,) = (path for path in (small / "train").iterdir() if path.name.endswith("_offsets.pkl"))
    shutil.copy(pickle, small / "train/other_offsets.pkl")
    blob = next(path for path in sorted((small / "blob").glob("*.tar")) if path.name == f"{pickle.name[:-12]}.tar")
    data = bytearray(blob.read_bytes())
    data[512 + 100] ^= 1  # of an image, not of a header
    (small / "blob/other.tar").write_bytes(data)
    for copy in (lambda: push(small, URL, index=index), lambda: fetch(URL, tmp_path / "got", choose=CHOSEN[chosen])):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", BlobdirWarning)
            assert copy()
        assert len([one for one in told if "with other bytes" in str(one.message)]) == 1
