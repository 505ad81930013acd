"""Small blobs of stores that become one: nothing is lost that compacting wouldn't lose, and nothing goes unsaid."""

from __future__ import annotations

import errno
import io
import os
import signal
import tarfile
from pathlib import Path

import pytest
from changes.looking import faults, shown
from changes.samples import picture

from blobdir import ImageStore
from blobdir.cli.app import run
from blobdir.errors import PackError
from blobdir.offsets import read_offsets, write_offsets
from blobdir.packing import add_blob_file, compact, create_project, remove, subset
from blobdir.packing.journal import Journal
from blobdir.packing.report import ChangeReport
from blobdir.verifying import verify

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")
LARGE = 300_000
SECRET = b"removed " * 4000


def blobs(root):
    return {name: Path(root, "blob", name).read_bytes() for name in sorted(os.listdir(f"{root}/blob"))}


def stored(root, *, sums=False):
    """A store with two blobs, the small one of which a larger commit folds."""
    store = ImageStore(root)
    if sums:
        Path(root, "blob/SHA256SUMS").write_bytes(b"")
    store.put_many({f"{i}.jpg": os.urandom(9000) for i in range(5)} | {"secret.jpg": SECRET})
    store["x.jpg"] = os.urandom(900)
    return store


def commit(root, dataset="images"):
    ImageStore(root, dataset=dataset)["new.jpg"] = os.urandom(LARGE)


WAYS = {"compact": lambda root, _: compact(root), "commit": commit}


# -- what isn't certainly a store's ---------------------------------------------------------------------------


def with_captions(root, number):
    foreign(root, number, [f"{number}.png", f"{number}.json"])


def of_others(root, number):
    foreign(root, number, [f"{number}.png"])


def foreign(root, number, names):
    path = Path(root).with_name(f"store-{number:04}.tar")
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data := picture(name)), 1_000_000_000
            tar.addfile(member, io.BytesIO(data))
    add_blob_file(root, path, "images")


def store_blob(root, number, folder=""):
    """What is exactly as stores write it, by the commit that wrote it."""
    before = blobs(root)
    ImageStore(root)[f"{folder}{number}.png"] = picture(str(number)) + bytes(20_000 * (2 - number))
    return next(name for name in blobs(root) if name not in before)


def led_to(root, number):
    name = store_blob(root, number)
    os.symlink(name, f"{root}/blob/{number}.link")


def named_twice(root, number):
    path = f"{root}/images/{store_blob(root, number, 'f/').removesuffix('.tar')}_offsets.pkl"
    ((name, start, end),) = read_offsets(Path(path).read_bytes()).entries()
    write_offsets(path, [(name.decode(), start, end), (f"{number}.png", start, end)])


def with_a_tail(root, number):
    with open(f"{root}/blob/{store_blob(root, number)}", "r+b") as file:
        file.seek(-600, os.SEEK_END)
        file.write(b"noted")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("make", [with_captions, of_others, led_to, named_twice, with_a_tail])
def test_only_what_is_certainly_a_stores_is_folded(tmp_path, way, make):
    root = tmp_path / "p"
    create_project(root)
    for number in range(2):
        make(root, number)
    before, images = blobs(root), shown(root)
    WAYS[way](str(root), "images")
    after = blobs(root)
    if make is not with_a_tail or way == "commit":  # bytes behind the end are what compacting takes away
        assert {name: after.get(name) for name in before} == before
    else:
        assert len(after) == len(before)
    assert images.items() <= shown(root).items()


# -- what doesn't hold ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["compact", "dry run", "commit"])
def test_damage_doesnt_become_official(tmp_path, way):
    """A blob without its checksum isn't copied to one that has one, though nothing goes out of it."""
    store = stored(tmp_path / "p", sums=True)
    root, name = Path(store.path), max(blobs(store.path), key=lambda name: len(blobs(store.path)[name]))
    with open(root / "blob" / name, "r+b") as file:
        file.seek(5000)
        file.write(b"damaged")
    before = blobs(root)
    if way == "commit":
        commit(str(root))
        assert blobs(root)[name] == before[name]
    else:
        with pytest.raises(PackError, match="doesn't have the checksum.*nothing was changed"):
            compact(root, dry_run=way == "dry run")
        assert blobs(root) == before
    assert any(one.code == "checksum" for one in verify(root).findings)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("others", [0, 3])
def test_an_image_that_two_blobs_have(tmp_path, way, others):
    """As where two stores were copied into one: it's served, so it's no reason to change nothing, or to lose it."""
    for name in ("a", "b"):
        store = ImageStore(tmp_path / name)
        store.put_many({"same.jpg": b"same" * 900, f"{name}.jpg": name.encode() * 3000})
    for path in [*(tmp_path / "b").glob("*/store*")]:
        (tmp_path / "a" / path.relative_to(tmp_path / "b")).write_bytes(path.read_bytes())
    for i in range(others):
        ImageStore(tmp_path / "a")[f"{i}"] = os.urandom(40_000 >> 2 * i)
    root = tmp_path / "a"
    before, number = shown(root), len(blobs(root))
    WAYS[way](str(root), "images")
    assert before.items() <= shown(root).items()
    if others and way == "compact":
        assert len(blobs(root)) < number
    assert faults(root) == []


# -- what is kept ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("private", [2, 1])
@pytest.mark.parametrize("way", ["compact", "compact without a fold", "commit"])
def test_who_may_read_a_blob(tmp_path, way, private):
    store = stored(tmp_path / "p")
    root = Path(store.path)
    small, large = sorted((root / "blob").iterdir(), key=lambda path: path.stat().st_size)
    for path in (large, small)[:private]:
        for one in (path, root / "images" / f"{path.stem}_offsets.pkl"):
            one.chmod(0o600)
    if way == "compact without a fold":
        remove(root, ["images/img/x.jpg", "images/img/1.jpg"])
    if way == "commit":
        commit(str(root))
    else:
        compact(root)
    for pattern in ("blob/*.tar", "images/*_offsets.pkl"):
        modes = sorted(path.stat().st_mode & 0o777 for path in root.glob(pattern))
        assert modes[0] == 0o600
        assert len(modes) - modes.count(0o600) == (way == "commit" or (private == 1 and way == "compact"))


@pytest.mark.parametrize("fold", [True, False])
def test_nobody_else_reads_a_new_blob_before_it_is_there(tmp_path, monkeypatch, fold):
    from blobdir.packing import compacting

    root, seen, copy = Path(stored(tmp_path / "p").path), [], compacting.copy_blob
    for path in (root / "blob").iterdir():
        path.chmod(0o600)
    if not fold:
        remove(root, ["images/img/x.jpg", "images/img/1.jpg"])

    def looked_at(*given):
        seen.extend(path.stat().st_mode & 0o077 for path in (root / ".blobdir/staging").iterdir())
        return copy(*given)

    monkeypatch.setattr(compacting, "copy_blob", looked_at)
    compact(root)
    assert set(seen) == {0}


# -- what goes, and is somewhere else -------------------------------------------------------------------------


def hard_link(root, blob):
    subset(root, f"{root}-sub")


def beside(root, blob):
    Path(root, "blob/download.part").write_bytes(blob.read_bytes())


def below(root, blob):
    os.mkdir(f"{root}/blob/old")
    Path(root, "blob/old/a").write_bytes(blob.read_bytes())


def elsewhere(root, blob):
    os.mkdir(f"{root}/old")
    Path(root, "old/a.tar").write_bytes(blob.read_bytes())


GOING = {
    "removed": lambda store: store.delete_many(["secret.jpg"]),
    "replaced": lambda store: store.put_many({"secret.jpg": b"other"}),
    "with all others": lambda store: store.clear(),
    "in the commit that folds": lambda store: store.put_many({"secret.jpg": os.urandom(LARGE)}),
}


@pytest.mark.parametrize("going", GOING)
@pytest.mark.parametrize("copy", [hard_link, beside, below, elsewhere])
def test_what_commits_take_away_is_looked_for(tmp_path, going, copy):
    store = stored(tmp_path / "p")
    root = Path(store.path)
    copy(store.path, max((root / "blob").iterdir(), key=lambda path: path.stat().st_size))
    GOING[going](store)
    commit(store.path)
    report = compact(store.path)
    assert any(one.code in ("hard-link", "still-there") for one in report.problems)
    assert not any(SECRET in path.read_bytes() for path in (root / "blob").glob("store*"))


@pytest.mark.parametrize("going", GOING)
def test_what_nobody_else_has_goes_with_the_commit(tmp_path, going):
    store = stored(tmp_path / "p")
    GOING[going](store)
    commit(store.path)
    assert not any(SECRET in data for data in blobs(store.path).values())


# -- one change, and what is said of it ------------------------------------------------------------------------


def with_remains(root):
    """A store of two blobs, of which an image was removed that another file has still."""
    store = stored(root)
    beside(store.path, max(Path(root, "blob").iterdir(), key=lambda path: path.stat().st_size))
    remove(root, ["images/img/secret.jpg"])
    return Path(store.path)


@pytest.mark.parametrize("number", [1, 2])
def test_without_room_to_fold_the_rest_is_done(tmp_path, monkeypatch, number):
    from blobdir.packing import compacting

    root, copy, calls = with_remains(tmp_path / "p"), compacting.copy_blob, []

    def full(*given):
        calls.append(given)
        if len(calls) == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return copy(*given)

    monkeypatch.setattr(compacting, "copy_blob", full)
    images = shown(root)
    report = compact(root)
    assert {one.code for one in report.problems} == {"not-folded", "still-there"}
    assert report.folded == 0 < report.freed
    assert len(report.blobs) == report.dropped == 1
    assert shown(root) == images
    assert compact(root).folded == 2
    assert shown(root) == images
    assert faults(root) == []


@pytest.mark.parametrize("end", ["signal", "interrupt", "error"])
def test_what_was_said_isnt_lost_whatever_ends_it(tmp_path, monkeypatch, capsys, end):
    root = with_remains(tmp_path / "p")
    done = Journal.run

    def interrupted(self, *given):
        signal.raise_signal(signal.SIGINT)
        return done(self, *given)

    def fails(self, folders):
        raise KeyboardInterrupt if end == "interrupt" else OSError(errno.EIO, "breaks")

    with monkeypatch.context() as patched:
        if end == "signal":
            patched.setattr(Journal, "run", interrupted)
        else:
            patched.setattr(ChangeReport, "say_left", fails)
        assert run(["compact", str(root)]) != 0
    said = capsys.readouterr().err
    assert "the change was made" in said
    assert "nothing was changed" not in said
    assert "download.part: still has 'secret.jpg', which was removed" in said
    assert len(blobs(root)) == 2


def test_nothing_is_said_to_be_done_where_nothing_was(tmp_path, monkeypatch, capsys):
    root = with_remains(tmp_path / "p")
    before = blobs(root)
    monkeypatch.setattr(Journal, "prepare", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
    assert run(["compact", str(root)]) == 7
    said = capsys.readouterr().err
    assert "nothing was changed" in said
    assert "the change was made" not in said
    assert blobs(root) == before


@pytest.mark.parametrize("has_unused", [False, True])
def test_a_dry_run_says_what_is_done(tmp_path, has_unused):
    root = with_remains(tmp_path / "p") if has_unused else Path(stored(tmp_path / "p").path)
    expected, report = compact(root, dry_run=True), compact(root)
    assert expected.folded == report.folded == 2
    assert expected.freed == report.freed > 0
    assert sorted(expected.replaced) == sorted(report.removed)
    assert (expected.images, expected.dropped) == (report.images, report.dropped)
    assert expected.problems == report.problems
