"""Each kind of fault of projects that several users have: what a change makes is as open as the project is."""

from __future__ import annotations

import errno
import os
import stat
from types import SimpleNamespace

import pytest
from changes.children import Child, killed_at
from changes.looking import shown
from changes.operations import CHANGING, copied, prepare
from changes.samples import files_below, numbered, packed, write

from blobdir.discovery import DiscoveryOptions
from blobdir.errors import AnnotationError, BusyError, PackError, UsageError
from blobdir.opening import OpenOptions, build_to_keep, open_tree, save_beside
from blobdir.packing import add, compact, merge, move, remove, subset
from blobdir.packing.locking import hold
from blobdir.projectlock import ProjectLock, show_like
from blobdir.sources import open_storage

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")
MODES = [0o755, 0o2775, 0o700]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("access"))


def opened_up(root, mode):
    """Give all of a project a mode."""
    for path in [root, *root.rglob("*")]:
        path.chmod(mode if path.is_dir() else mode & 0o666)


def closed(root):
    """What of a project is less open than its folder."""
    mode = root.stat().st_mode
    found = []
    for path in root.rglob("*"):
        mine = os.lstat(path)
        wanted = mode & (0o2777 if stat.S_ISDIR(mine.st_mode) else 0o666)
        if not path.is_symlink() and mine.st_nlink < 2 + path.is_dir() * 9999 and wanted & ~mine.st_mode:
            found.append((str(path.relative_to(root)), oct(mine.st_mode)))
    return sorted(found)


def masked(operation, mask):
    def run():
        os.umask(mask)
        operation()

    return run


@pytest.mark.parametrize("mode", MODES, ids=oct)
@pytest.mark.parametrize("name", CHANGING)
def test_what_a_change_leaves_is_as_open_as_the_project(base, tmp_path, name, mode):
    """Killed after the journal is there, whatever the umask: others can look, and go on."""
    operation = CHANGING[name]
    start = copied(base, tmp_path / "start")
    operation.before(start)
    opened_up(start / "p", mode)
    opened_up(start / "other", mode)
    seen = 0
    for number in range(3, 1000, 4):
        folder = copied(start, tmp_path / f"{number}")
        killed, _ = killed_at(masked(lambda folder=folder: operation.run(folder), 0o077), number)
        if (folder / "p/.blobdir/journal.json").exists() or not killed:
            seen += 1
            assert [path for path in closed(folder / "p") if ".tmp" not in path[0]] == []
        if not killed:
            break
    assert seen > 1


def test_what_was_closed_before_is_opened(tmp_path):
    """``.blobdir`` as an older version has left it."""
    root = packed(tmp_path / "p", numbered())
    remove(root, ["train/a001.png"])
    for path, mode in ((root / ".blobdir/lock", 0o600), (root / ".blobdir", 0o700), (root, 0o755)):
        path.chmod(mode)
    remove(root, ["train/a002.png"])
    assert closed(root) == []


def _reader(root):
    with hold(root):
        pass


def _index(root):
    storage = open_storage(str(root))
    save_beside(build_to_keep(storage, DiscoveryOptions()), storage)


@pytest.mark.parametrize("read", [_reader, _index, lambda root: subset(root, root.with_name("s"))])
def test_what_a_reader_leaves_is_as_open_as_the_project(tmp_path, read):
    root = packed(tmp_path / "p", numbered())
    opened_up(root, 0o2775)
    with Child(masked(lambda: read(root), 0o077)) as child:
        assert child.ended() == 0
    assert (root / ".blobdir").exists()
    assert closed(root) == []


def test_nothing_is_opened_to_another_group(tmp_path, monkeypatch):
    """What the project's group may do is nothing to the group that a new file happens to have."""

    def refuse(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refuse)
    root = SimpleNamespace(st_mode=0o42775, st_uid=os.getuid(), st_gid=os.getgid() + 1)
    for path in (write(tmp_path / "file", b""), tmp_path / "folder"):
        path.mkdir() if path.name == "folder" else None
        path.chmod(0o700)
        show_like(path, root)
        assert stat.S_IMODE(path.stat().st_mode) == (0o705 if path.is_dir() else 0o704)


# -- dry runs ----------------------------------------------------------------------------------------------------

TRIED = {
    "add": lambda base, dry: add(base / "p", "train", sorted((base / "new").iterdir()), dry_run=dry),
    "add to a new dataset": lambda base, dry: add(base / "p", "x/y", sorted((base / "new").iterdir()), dry_run=dry),
    "add --replace": lambda base, dry: add(
        base / "p", "train", [base / "again/a001.png"], replace=True, annotations=base / "notes", dry_run=dry
    ),
    "remove": lambda base, dry: remove(base / "p", ["train/a001.png", "val/v1.png"], dry_run=dry),
    "move": lambda base, dry: move(base / "p", ["train/a001.png", "train/loose.png"], "test/x", dry_run=dry),
    "move to another": lambda base, dry: move(base / "p", ["train/a001.png"], "val", dry_run=dry),
    "compact": lambda base, dry: compact(base / "p", dry_run=dry),
    "merge": lambda base, dry: merge(base / "p", base / "other", dry_run=dry),
}


def _asked(monkeypatch, refused=None):
    """Places that are asked whether they can be written; one of them can't be."""
    asked = set()

    def access(path, mode, **_):
        path = os.path.realpath(path)
        asked.add(path)
        return path != refused

    monkeypatch.setattr(os, "access", access)
    return asked


@pytest.mark.parametrize("whose", ["p", "other"])
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_merge_of_what_cannot_be_written_is_refused_in_a_dry_run_too(base, tmp_path, whose, dry_run):
    base = copied(base, tmp_path / "made")
    meta = base / whose / "meta.json"
    meta.write_bytes(meta.read_bytes().rstrip()[:-1] + b', "x": 1e999}')
    before = files_below(base / "p")
    with pytest.raises(AnnotationError):
        merge(base / "p", base / "other", dry_run=dry_run)
    assert files_below(base / "p") == before


@pytest.mark.parametrize("name", TRIED)
def test_a_dry_run_is_refused_where_the_real_one_is(base, tmp_path, monkeypatch, name):
    real, dry = copied(base, tmp_path / "real"), copied(base, tmp_path / "dry")
    with monkeypatch.context() as patch:
        asked = _asked(patch)
        TRIED[name](real, False)
    places = {os.path.relpath(path, real) for path in asked} | {"p/.blobdir", "p/.blobdir/lock"}
    assert len(places) > 3
    before = {path: path.stat().st_mtime_ns for path in dry.rglob("*")}
    for place in sorted(places):
        if place == "p/.blobdir/staging":
            continue
        with monkeypatch.context() as patch:
            asked = _asked(patch, str(dry / place))
            with pytest.raises((UsageError, PackError)):
                TRIED[name](dry, True)
    TRIED[name](dry, True)
    assert {path: path.stat().st_mtime_ns for path in dry.rglob("*")} == before  # the other project's, too


@pytest.mark.parametrize("where", ["", ".blobdir", ".blobdir/lock"])
def test_a_dry_run_of_a_project_that_was_never_changed(tmp_path, monkeypatch, where):
    root = packed(tmp_path / "p", numbered())
    if where:
        remove(root, ["train/a001.png"])
    _asked(monkeypatch, str(root / where))
    with pytest.raises(PackError, match=r"Permission denied; nothing was changed"):
        remove(root, ["train/a002.png"], dry_run=True)


@pytest.mark.parametrize("name", TRIED)
def test_a_dry_run_is_refused_while_somebody_changes_the_project(base, name):
    lock = ProjectLock(str(base / "p"))
    try:
        for dry in (True, False):
            with pytest.raises(BusyError):
                TRIED[name](base, dry)
    finally:
        lock.release()
    TRIED[name](base, True)


@pytest.mark.parametrize("dry", [False, True])
@pytest.mark.parametrize(
    ("command", "sticky", "path"),
    [
        ("remove", "train/ann", "train/ann/a001.png.json"),
        ("add --replace", "train", "train/train-0"),
        ("add", "blob", "blob/SHA"),
    ],
)
def test_a_file_of_another_user_in_a_sticky_folder(base, tmp_path, monkeypatch, command, sticky, path, dry):
    """There, only its owner may rename or remove it; which file it is, is said."""
    folder = copied(base, tmp_path / "copy")
    (folder / "p" / sticky).chmod(0o1777)
    before = shown(folder / "p")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(UsageError, match=rf"^{path}.* sticky"):
        TRIED[command](folder, dry)
    assert shown(folder / "p") == before


# -- what can't be looked into -----------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [False, True])
def test_who_cannot_look_for_a_journal_says_so(tmp_path, monkeypatch, begun):
    """That a journal isn't visible doesn't mean that there is none."""
    root = packed(tmp_path / "p", numbered())
    remove(root, ["train/a001.png"])
    if begun:
        (root / ".blobdir/staging").mkdir()

    def guarded(call):
        def guard(path, *arguments, **options):
            if "/.blobdir/" in os.fspath(path):
                raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
            return call(path, *arguments, **options)

        return guard

    for name in ("lstat", "open"):
        monkeypatch.setattr(os, name, guarded(getattr(os, name)))
    links = os.stat(root).st_nlink  # where those of folders aren't counted, it's always said
    place = tmp_path / "kept"
    tree = open_tree(root, options=OpenOptions(DiscoveryOptions(), index=str(place)))
    codes = {defect.code for defect in tree.defects}
    assert ("state-unreadable" in codes) == (begun or links < 2)
    assert place.exists() == ("state-unreadable" not in codes)
