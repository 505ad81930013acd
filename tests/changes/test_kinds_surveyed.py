"""What else leads to a blob, or may: links of the project, and folders of which nobody knows what is in them."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path

import pytest
from changes.looking import shown

from blobdir import ImageStore
from blobdir.cli.app import run
from blobdir.errors import BlobdirWarning, PackError, ReadError
from blobdir.packing import compact, remove

FAILS: dict[str, object] = {}
"""Path of a folder of which one listing fails, and after how many."""


def _fail(event, given):
    if FAILS and event in ("os.scandir", "os.listdir") and isinstance(given[0], (str, int)):
        path = given[0] if isinstance(given[0], str) else os.readlink(f"/proc/self/fd/{given[0]}")
        if path == FAILS["path"]:
            FAILS["left"] -= 1
            if FAILS["left"] == 0:
                raise OSError(errno.EIO, os.strerror(errno.EIO), path)


sys.addaudithook(_fail)


@pytest.fixture
def failing():
    def fail(path, number):
        FAILS.update(path=str(path), left=number)

    yield fail
    FAILS.clear()


def stored(root):
    """A store with a large blob, an image of which was removed, and a small one; gives the large one."""
    store = ImageStore(root)
    store.put_many({f"{i}.jpg": os.urandom(9000) for i in range(4)})
    store["x.jpg"] = os.urandom(5000)
    blob = max(Path(root, "blob").glob("*.tar"), key=lambda path: path.stat().st_size)
    store.close()
    return blob


def link(root, where, target):
    path = Path(root, where)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(os.path.relpath(target, path.parent))
    return path


def offsets_of(root, blob):
    return Path(root, "images", f"{blob.stem}_offsets.pkl")


# -- links to what would go --------------------------------------------------------------------------------------

WHERE = ["latest", "latest.tar", "sub/latest", "blob/latest", "images/latest", "images/meta/latest", "images/img/a"]


@pytest.mark.parametrize("what", ["blob", "offsets", "emptied"])
@pytest.mark.parametrize("where", WHERE)
def test_what_a_link_leads_to_stays_and_that_is_said(tmp_path, where, what, capfd):
    """A dry run says what the run does, and the next one isn't refused for it; without the link all goes."""
    root = tmp_path / "p"
    blob = stored(root)
    path = link(root, where, offsets_of(root, blob) if what == "offsets" else blob)
    going = [f"images/img/{i}.jpg" for i in range(4 if what == "emptied" else 1)]
    path.unlink()
    remove(root, going)
    path = link(root, where, offsets_of(root, blob) if what == "offsets" else blob)
    for dry_run in (True, False, True, False):
        found = compact(root, dry_run=dry_run)
        assert found.held == [f"blob/{blob.name}"]
        assert [(one.code, one.path) for one in found.problems] == [("link", where)]
        assert blob.name in found.problems[0].message
        assert path.exists()
    assert run(["compact", str(root)]) == 0
    assert "what was removed is still in 1 file" in capfd.readouterr().out
    path.unlink()
    done = compact(root)
    assert (done.held, done.problems, blob.exists()) == ([], [], False)
    assert done.dropped == len(going)


def test_a_tar_of_no_use_goes_where_it_shall_and_the_link_is_named(tmp_path):
    root = tmp_path / "p"
    blob = stored(root)
    other = blob.with_name("old.tar")
    other.write_bytes(blob.read_bytes())
    path = link(root, "latest", other)
    for dry_run in (True, False):
        found = compact(root, unreferenced=True, dry_run=dry_run)
        assert ("link", "latest") in [(one.code, one.path) for one in found.problems]
    assert not path.exists()
    assert path.is_symlink()
    remove(root, ["images/img/0.jpg"])
    assert compact(root).dropped == 1


@pytest.mark.parametrize("where", ["latest", "sub/latest", "images/latest", "blob/latest"])
def test_a_link_that_leads_nowhere_in_the_project_blocks_nothing(tmp_path, where):
    root = tmp_path / "p"
    stored(root)
    link(root, where, root / "gone/far")
    remove(root, ["images/img/0.jpg"])
    assert compact(root).dropped == 1


def test_a_link_to_a_disk_that_is_away_still_does(tmp_path):
    root = tmp_path / "p"
    stored(root)
    link(root, "more", tmp_path / "away")
    remove(root, ["images/img/0.jpg"])
    with pytest.raises(PackError, match="more: is a symbolic link"):
        compact(root)


# -- folders that can't be listed, once ------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")
@pytest.mark.parametrize("folder", ["sub", "", "images", "blob"])
@pytest.mark.parametrize("number", range(1, 7))
def test_no_listing_that_fails_is_taken_for_an_empty_folder(tmp_path, failing, folder, number):
    root = tmp_path / "p"
    blob = stored(root)
    remove(root, ["images/img/0.jpg"])
    before, path = shown(root), link(root, "sub/latest", blob)
    failing(root / folder if folder else root, number)
    try:
        done = compact(root)
    except (PackError, ReadError) as error:
        assert "nothing was changed" in str(error) or "can't be listed" in str(error)
        assert blob.exists()
    else:
        assert done.held == [f"blob/{blob.name}"]
    FAILS.clear()
    assert path.exists()
    path.unlink()
    assert shown(root) == before


@pytest.mark.parametrize("number", range(1, 5))
def test_misplaced_offsets_are_seen_whichever_listing_fails(tmp_path, failing, number):
    root = tmp_path / "p"
    blob = stored(root)
    remove(root, ["images/img/0.jpg"])
    (root / "blob/sub").mkdir()
    (root / "blob/sub" / f"{blob.stem}_offsets.pkl").write_bytes(offsets_of(root, blob).read_bytes())
    failing(root / "blob/sub", number)
    with pytest.raises(PackError, match="can't be listed|says which bytes of a blob are needed"):
        compact(root)
    assert blob.exists()


# -- what stays after all ----------------------------------------------------------------------------------------


def test_a_blob_that_stays_in_the_end_is_named_and_goes_with_the_next(tmp_path, failing):
    """The last look before a blob goes can't list a folder: it stays, and isn't forgotten."""
    root = tmp_path / "p"
    blob = stored(root)
    (root / "sub").mkdir()
    remove(root, ["images/img/0.jpg"])
    before = shown(root)
    copy = shutil.copytree(root, tmp_path / "copy")
    failing(copy / "sub", 1 << 30)
    compact(copy)
    failing(root / "sub", (1 << 30) - FAILS["left"])  # the last of so many
    with pytest.warns(BlobdirWarning, match="stays: sub names it, or may do so"):
        done = compact(root)
    assert done.held
    assert done.held[0] not in done.removed
    assert {(one.code, one.path) for one in done.problems} >= {("still-there", path) for path in done.held}
    assert all((root / path).exists() for path in done.held)
    FAILS.clear()
    again = compact(root)
    assert again.removed == done.held
    assert (again.held, again.problems, blob.exists()) == ([], [], False)
    assert shown(root) == before
