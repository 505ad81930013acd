"""A folder that members' names make costs little: a pickle of a few megabytes can make as many as it has names."""

import cProfile
import gc
import pstats

import pytest
from blob_builder import write_tar

from blobdir.offsets import write_offsets
from blobdir.opening import OpenOptions, open_tree

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")

CALLS = 62
"""Of functions, for a name in a folder of its own; they had been 250."""


def calls(root, count, shape):
    (root / "train/img").mkdir(parents=True)
    (root / "blob").mkdir()
    (root / "meta.json").write_bytes(b'{"classes": [], "tags": []}')
    ((_, start, end),) = write_tar(root / "blob/b.tar", {"a.png": b"hello"})
    write_offsets(root / "train/b_offsets.pkl", [(shape % i, start, end) for i in range(count)])
    profile = cProfile.Profile()
    gc.collect()
    gc.disable()  # what others have left counts for nothing
    try:
        tree = profile.runcall(open_tree, root, options=OpenOptions(index="none"))
    finally:
        gc.enable()
    assert tree.find("train/img/" + (shape % (count - 1)).decode()) is not None
    return pstats.Stats(profile).total_calls


@pytest.mark.parametrize("shape", [b"d%07d/a.png", b"d%07d/e/a.png", b"d/%07d/a.png"])
def test_calls_for_each_folder(tmp_path, shape):
    calls(tmp_path / "first", 10, shape)
    few, many = calls(tmp_path / "few", 500, shape), calls(tmp_path / "many", 2500, shape)
    assert (many - few) / 2000 < CALLS * (1 + shape.count(b"/e/"))
