"""A dataset that is called like the folder of packed annotations: nothing is otherwise than with any other name."""

from __future__ import annotations

import hashlib
import json
import os
import re

import fsspec
import pytest
from changes.commands import transaction
from changes.samples import META, annotation, entries, files_below, in_tar, pickles, picture, rewrite, write

import blobdir
from blobdir.discovery.released import read_released
from blobdir.errors import BlobdirError
from blobdir.moving import push
from blobdir.packing import compact, merge, move, remove
from blobdir.verifying import repair, verify

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")
PLAIN = "plain"


def project(root, dataset):
    """Images in a blob with a checksum, one of them in a hidden folder there; labels packed."""
    images = {name: picture(name) for name in ("a.png", ".h/b.png", "c.png")}
    at = in_tar(root / "blob/x.tar", images)
    rewrite(
        write(root / dataset / "x_offsets.pkl", b""), [(os.path.basename(name), *span) for name, span in at.items()]
    )
    notes = in_tar(root / dataset / "ann.blob/y.tar", {f"{name}.png.json": annotation(name) for name in "abc"})
    rewrite(root / dataset / "ann.blob/y_offsets.pkl", [(name, *span) for name, span in notes.items()])
    write(root / "meta.json", json.dumps(META).encode())
    digest = hashlib.sha256((root / "blob/x.tar").read_bytes()).hexdigest()
    write(root / "blob/SHA256SUMS", f"{digest}  x.tar\n".encode())
    return root


def removed(root, path):
    remove(root, [f"{path}/img/b.png", f"{path}/img/a.png"])


def removed_and_compacted(root, path):
    remove(root, [f"{path}/img/b.png"])
    compact(root)


def all_removed(root, path):
    remove(root, [f"{path}/img/{name}.png" for name in "abc"])
    compact(root)


def moved_away(root, path):
    move(root, [f"{path}/img/{name}.png" for name in "abc"], "other")


def moved_there_and_back(root, path):
    moved_away(root, path)
    move(root, [f"other/{name}.png" for name in "abc"], path)


def removed_after_moves(root, path):
    moved_there_and_back(root, path)
    remove(root, [f"{path}/img/b.png"])
    compact(root)


def edited(root, path):
    def change(fs):
        fs.pipe(f"{path}/img/new.png", picture("new"))
        fs.rm(f"{path}/img/b.png")
        fs.mv(f"{path}/img/a.png", "other/img/a.png")

    transaction(root, change)


def merged(root, path):
    moved_away(root, path)
    merge(root, project(root.parent / "other", path))


def mended(root, path):
    pickle = next(found for found in pickles(root) if found.name == "x_offsets.pkl")
    os.truncate(pickle, pickle.stat().st_size - 7)
    repair(root, verify(root, processes=1))


def labels_mended(root, path):
    pickle = next(found for found in pickles(root) if found.name == "y_offsets.pkl")
    os.truncate(pickle, pickle.stat().st_size - 7)
    repair(root, verify(root, processes=1))


def cut_and_compacted(root, path):
    """A pickle that couldn't be mended is kept: of its blob, nothing is taken for removed."""
    pickle = root / path / "x_offsets.pkl"
    write(pickle.with_name(f"{pickle.name}.backup-20260101-000000"), pickle.read_bytes()[:7])
    rewrite(pickle, entries(pickle)[:1])
    with pytest.raises(BlobdirError, match="nobody knows whether they were removed"):
        compact(root)


def pushed(root, path):
    remove(root, [f"{path}/img/{name}.png" for name in "abc"])
    memory = fsspec.filesystem("memory")
    if memory.exists("/named"):
        memory.rm("/named", recursive=True)
    push(root, "memory://named")
    memory.get("/named", str(root / "pushed"), recursive=True)


CHANGES = (
    removed, removed_and_compacted, all_removed, moved_away, moved_there_and_back, removed_after_moves, edited, merged,
    mended, labels_mended, cut_and_compacted, pushed,
)  # fmt: skip


def _outcome(root, change, path):
    """Everything there is afterwards, with the dataset called `PLAIN`."""

    def plain(text):
        return re.sub(rf"(?<![\w/.]){re.escape(path)}(?![\w.])", "DATASET", text)

    said = ""
    try:
        change(project(root, path), path)
    except BlobdirError as error:
        said = plain(str(error).replace(str(root), ""))
    files = {plain(name): data for name, data in files_below(root).items() if "backup" not in name}
    files = {name: data for name, data in files.items() if not name.endswith("index.tar")}
    released = {plain(name): (one.whole, one.ranges) for name, one in read_released(root)[0].items()}
    project_ = blobdir.open_project(root, index="none")
    defects = sorted((one.code, plain(one.path)) for one in project_.defects)
    found = sorted((one.code, plain(one.path)) for one in verify(root, processes=1).findings)
    return said, files, released, defects, [one for one in found if not one[0].startswith("sdk-")]


@pytest.mark.parametrize("path", ["ann.blob", "x/datasets/ann.blob"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_called_like_packed_annotations(tmp_path, change, path):
    other = path.replace("ann.blob", PLAIN)
    odd, even = _outcome(tmp_path / "odd/p", change, path), _outcome(tmp_path / "even/p", change, other)
    for mine, wanted in zip(odd, even, strict=True):
        assert mine == wanted
