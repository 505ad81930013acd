"""What else leads to a blob, or may: links of the project, and folders of which nobody knows what is in them."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path

import pytest
from changes.looking import shown

import blobdir.demo
from blobdir import ImageStore
from blobdir.cli.app import run
from blobdir.errors import BlobdirWarning, PackError, ReadError
from blobdir.packing import compact, compacting, remove
from blobdir.packing.journal import Journal

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


# -- what comes while it works -----------------------------------------------------------------------------------


@pytest.fixture
def meanwhile(monkeypatch):
    """Do something once, when a new tar is being written, or when all is written and nothing decided yet."""

    def at(moment, does):
        where, name = {"writing": (compacting, "copy_blob"), "written": (Journal, "prepare")}[moment]
        real, done = getattr(where, name), []

        def called(*given):
            if not done:
                done.append(does())
            return real(*given)

        monkeypatch.setattr(where, name, called)
        return done

    return at


@pytest.mark.parametrize("moment", ["writing", "written"])
@pytest.mark.parametrize("what", ["blob", "offsets"])
@pytest.mark.parametrize("where", [*WHERE, ".blobdir/latest"])
def test_a_link_that_comes_meanwhile_never_leads_nowhere(tmp_path, where, what, moment, meanwhile, capfd):
    """It's refused with nothing changed; the next one finds the link there, and says so."""
    root = tmp_path / "p"
    blob = stored(root)
    remove(root, ["images/img/0.jpg"])
    before = shown(root)
    done = meanwhile(moment, lambda: link(root, where, offsets_of(root, blob) if what == "offsets" else blob))
    assert run(["compact", str(root)]) == 7
    said = capfd.readouterr().err
    assert f"{where}: is a symbolic link that was made while" in said
    assert "nothing was changed" in said
    assert done[0].exists()
    assert blob.exists()
    again = compact(root)
    assert ([(one.code, one.path) for one in again.problems], again.held) == (
        [("link", where)],
        [f"blob/{blob.name}"],
    )
    done[0].unlink()
    assert compact(root).held == []
    assert shown(root) == before


def test_so_does_one_to_a_tar_that_goes_whatever_leads_to_it_and_is_named(tmp_path, meanwhile):
    root = tmp_path / "p"
    other = stored(root).with_name("old.tar")
    shutil.copy(next(Path(root, "blob").glob("*.tar")), other)
    meanwhile("written", lambda: link(root, "latest", other))
    done = compact(root, unreferenced=True)
    assert [(one.code, one.path) for one in done.problems if one.code == "link"] == [("link", "latest")]
    assert not other.exists()


@pytest.mark.parametrize("moment", ["writing", "written"])
@pytest.mark.parametrize("where", ["blob/copy.tar", "old.tar", "sub/old.tar.bak", "blob/grown.tar"])
def test_a_copy_that_comes_meanwhile_is_named(tmp_path, where, moment, meanwhile, capfd):
    """One that is still being copied when it's searched first, too."""
    root = tmp_path / "p"
    blob = stored(root)
    remove(root, ["images/img/0.jpg"])
    copy = root / where
    copy.parent.mkdir(exist_ok=True)
    if "grown" in where:
        copy.write_bytes(b"")
    meanwhile(moment, lambda: shutil.copyfile(blob, copy))
    assert run(["compact", str(root)]) == 0
    said = "".join(capfd.readouterr())
    assert f"{where}: still has '0.jpg', which was removed" in said
    assert "what was removed is still in 1 file" in said
    assert "any more" not in said
    assert not blob.exists()


# -- what is said of it ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dry_run", [True, False])
def test_what_is_written_anew_is_not_deleted_too(tmp_path, dry_run, capfd):
    root = tmp_path / "p"
    blob = stored(root)
    remove(root, ["images/img/0.jpg"])
    assert run(["compact", str(root), *["--dry-run"] * dry_run]) == 0
    said = capfd.readouterr().out
    assert ("deleted:" not in said) if dry_run else ("written anew, 0 deleted" in said)
    assert blob.exists() == dry_run


def test_what_takes_more_is_said_so(tmp_path, capfd):
    root = shutil.copytree(blobdir.demo.path(), tmp_path / "p")
    assert run(["compact", str(root), "--layout", "webdataset"]) == 0
    said = capfd.readouterr().out
    assert "written anew, 0 deleted, " in said
    assert "more in use" in said
    assert " -" not in said


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_list_of_checksums_that_lies_outside_is_refused_at_once(tmp_path, dry_run, capfd):
    root = shutil.copytree(blobdir.demo.path(), tmp_path / "p")
    remove(root, ["train/0_0000.png"])
    (tmp_path / "sums").touch()
    (root / "blob/SHA256SUMS").symlink_to(tmp_path / "sums")
    assert run(["compact", str(root), *["--dry-run"] * dry_run]) == 7
    assert "blob/SHA256SUMS: can't be read" in capfd.readouterr().err
