"""The index that travels with a project is gone, or made anew, before a change of the project appears.

Who reads a project behind a web server, or from a bucket that it's copied to, believes that index.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import folder_bucket
import pytest
from changes.children import killed_at
from changes.looking import seen
from changes.operations import CHANGING, OPERATIONS, copied, prepare
from changes.samples import numbered, packed, tars, write

from blobdir.cli.app import run
from blobdir.errors import NotFoundError, PackError
from blobdir.index.table import COLUMNS
from blobdir.opening import BESIDE, BESIDE_FILE
from blobdir.packing import add_blob_file, compact, create_blob_readme, recover, remove

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")

tested = folder_bucket.bucket  # a fixture


def offsets(base):
    """A pickle written anew into a dataset, whose last image has gone from the tar's offsets."""
    blob = next(path for path in tars(base / "p") if path.name.startswith("train"))
    assert run(["offsets", "-q", "--replace", "-o", str(base / "p/train"), str(blob)]) == 0


def tar_taken(base):
    add_blob_file(base / "p", tars(packed(base / "third", numbered(2, 30)))[0], "more")


def offsets_without_meta(base):
    (base / "p/meta.json").unlink()
    offsets(base)


WRITERS = {name: OPERATIONS[name].run for name in CHANGING} | {
    "add_blob_file": tar_taken,
    "create_blob_readme": lambda base: create_blob_readme(base / "p", replace=True),
    "offsets": offsets,
    "offsets, without meta.json": offsets_without_meta,
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("beside"))


@pytest.fixture
def indexed(base, tmp_path, tested):
    """Makes the same as a bucket, with an index beside its project; gives the folder."""

    def indexed(writer="remove"):
        place = Path(folder_bucket.Bucket.root)
        shutil.copytree(base, place, symlinks=True, dirs_exist_ok=True)
        if writer in OPERATIONS:
            OPERATIONS[writer].before(place)
        assert run(["index", "-q", "--beside", str(place / "p")]) == 0
        assert from_afar() == here(place / "p")
        return place

    return indexed


def from_afar():
    """What a remote reader sees who believes an index if there is one."""
    return seen("tested://p", index="auto")


def here(root):
    """What somebody on this machine sees who looks at everything."""
    return seen(root)


def has_index(root):
    return (root / BESIDE_FILE).exists()


@pytest.mark.parametrize("writer", WRITERS)
def test_remote_and_local_readers_see_what_was_changed(indexed, writer):
    place = indexed(writer)
    before = here(place / "p")
    WRITERS[writer](place)
    now = here(place / "p")
    assert now is not None
    assert now != before or writer == "compact"
    assert from_afar() == now
    assert seen(place / "p", index="auto") == now
    assert not has_index(place / "p")
    assert not (place / "p" / BESIDE).exists()
    assert run(["index", "-q", "--beside", str(place / "p")]) == 0
    folder_bucket.Bucket.calls.clear()
    assert from_afar() == now == seen(place / "p", index="auto")
    assert ("ls", "p") not in folder_bucket.Bucket.calls


@pytest.mark.parametrize("writer", CHANGING)
def test_wherever_it_is_killed(indexed, tmp_path, writer):
    """As long as the index is there, all is as it was when that was made."""
    place = indexed(writer)
    start, before, number = copied(place, tmp_path / "start"), here(place / "p"), 0
    found = set()
    while True:
        shutil.rmtree(place / "p")
        shutil.copytree(start / "p", place / "p", symlinks=True)
        killed, refused = killed_at(lambda: WRITERS[writer](place), number)
        assert not refused
        if not killed:
            break
        found.add(has_index(place / "p"))
        if has_index(place / "p"):
            assert from_afar() == here(place / "p") == before
        recover(place / "p")
        assert from_afar() == here(place / "p")
        number += 3
    assert found == {True, False}


def test_a_change_that_an_older_version_was_killed_in(indexed):
    """Its journal is there, and the index too."""
    place = indexed()
    index = (place / "p" / BESIDE_FILE).read_bytes()
    number = 0
    while killed_at(lambda: WRITERS["remove"](place), number)[0] and not (place / "p/.blobdir/journal.json").exists():
        number += 1
        recover(place / "p")
    write(place / "p" / BESIDE_FILE, index)
    recover(place / "p")
    assert from_afar() == here(place / "p")
    assert not has_index(place / "p")


@pytest.mark.parametrize("nothing", ["dry run", "refused", "nothing to compact"])
def test_what_changes_nothing_leaves_it(indexed, nothing):
    place = indexed()
    if nothing == "nothing to compact":
        compact(place / "p")
        assert run(["index", "-q", "--beside", str(place / "p")]) == 0
        compact(place / "p")
    elif nothing == "refused":
        with pytest.raises(NotFoundError):
            remove(place / "p", ["train/a001.png", "train/none.png"])
    else:
        remove(place / "p", ["train/a001.png"], dry_run=True)
    assert has_index(place / "p")
    assert {path.name for path in (place / "p" / BESIDE).iterdir()} >= {f"{column}.npy" for column in COLUMNS}


def test_a_folder_of_somebody_else_in_its_place_stays(indexed):
    place = indexed()
    write(place / "p" / BESIDE / "mine.txt", b"mine")
    remove(place / "p", ["train/a001.png"])
    assert not has_index(place / "p")
    assert (place / "p" / BESIDE / "mine.txt").read_bytes() == b"mine"
    assert seen(place / "p", index="auto") == here(place / "p")


def test_one_that_cannot_be_removed(indexed, monkeypatch):
    """Nothing is changed then: the index would be believed."""
    place = indexed()
    before = here(place / "p")

    def unlink(path, **options):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("blobdir.opening.beside.os.unlink", unlink)
        with pytest.raises(PackError, match="nothing was changed"):
            remove(place / "p", ["train/a001.png"])
    assert has_index(place / "p")
    assert here(place / "p") == before == from_afar()
