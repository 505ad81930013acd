"""Defects that are planted in a project for a while, and taken back: what a command has made of them is looked at then.

Each is a generator: what is before its ``yield`` plants it, what is after takes it back, which fails where somebody has
touched what has the defect. It gives up before where the project has nothing that could have it.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

from changes.samples import entries, files_below, pickles, rewrite, tars


class CantBePlanted(Exception):
    """The project has nothing that could have such a defect."""


def _one(found, number):
    found = list(found)
    if not found:
        raise CantBePlanted
    return found[number % len(found)]


def _damaged(path, damage):
    """A file has other content meanwhile."""
    sound = path.read_bytes()
    times = path.stat()
    damage(path)
    damaged = path.read_bytes()
    assert damaged != sound
    yield
    assert path.exists() and path.read_bytes() == damaged, f"{path} has a defect, and was replaced or removed"
    path.unlink()  # it may be a hard link
    path.write_bytes(sound)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _rewritten(path, data):
    path.unlink()  # a subset may have the same file
    path.write_bytes(data)


def _away(path, outside, *, linked):
    """A file or folder is somewhere else; or a link leads to where it is."""
    place = outside / "away"
    outside.mkdir(parents=True)
    shutil.move(path, place)
    if linked:
        path.symlink_to(place)
    before = files_below(outside)
    yield
    assert files_below(outside) == before, "something outside the project was changed"
    assert path.is_symlink() if linked else not os.path.lexists(path), f"{path}: its name was taken"
    if linked:
        path.unlink()
    shutil.move(place, path)
    outside.rmdir()


def cut_pickle(root, outside, number):
    path = _one(pickles(root), number)
    yield from _damaged(path, lambda p: _rewritten(p, p.read_bytes()[:-7]))


def offsets_that_miss(root, outside, number):
    path = _one(pickles(root, False), number)
    moved = [(name, start + 512, end + 512) for name, start, end in entries(path)]

    def damage(p):
        p.unlink()
        rewrite(p, moved)

    yield from _damaged(path, damage)


def damaged_header(root, outside, number):
    path = _one(tars(root), number)

    def damage(p):
        data = bytearray(p.read_bytes())
        starts = [s for pickle in pickles(root, False) for _, s, _ in entries(pickle) if pickle.name.startswith(p.stem)]
        at = (starts[number % len(starts)] if starts else 512) - 512
        data[at : at + 100] = bytes(100)
        _rewritten(p, bytes(data))

    yield from _damaged(path, damage)


def missing_blob(root, outside, number):
    yield from _away(_one(tars(root), number), outside, linked=False)


def linked_blob(root, outside, number):
    yield from _away(_one(tars(root), number), outside, linked=True)


def linked_dataset(root, outside, number):
    folders = {path.parent for path in pickles(root, False)}
    yield from _away(_one(sorted(folders), number), outside, linked=True)


def linked_annotations(root, outside, number):
    folders = sorted(p for p in Path(root).rglob("ann") if p.is_dir() and p.parent != Path(root))
    yield from _away(_one(folders, number), outside, linked=True)


def missing_meta(root, outside, number):
    yield from _away(root / "meta.json", outside, linked=False)


def stranger(root, outside, number):
    """A tar without offsets: one that was just copied in."""
    path = root / "blob/stranger.tar"
    path.write_bytes(_one(tars(root), number).read_bytes())
    data = path.read_bytes()
    yield
    assert path.exists() and path.read_bytes() == data, "a tar without offsets was removed or changed"
    path.unlink()


def twin(root, outside, number):
    """``x.TAR`` beside ``x.tar``, with other bytes at the same places."""
    blob = _one([tar for tar in tars(root) if tar.suffix == ".tar"], number)
    path = blob.with_suffix(".TAR")
    data = bytearray(blob.read_bytes())
    for pickle in pickles(root, False):
        if pickle.name == f"{blob.stem}_offsets.pkl":
            for _, start, end in entries(pickle):
                data[end - 1] ^= 255
                data[(start + end) // 2] ^= 255
    path.write_bytes(data)
    yield
    assert path.exists() and path.read_bytes() == bytes(data), "of x.tar and x.TAR, the second was removed or changed"
    path.unlink()


def missing_behind_conflicts(root, outside, number):
    """Offsets name each image of a blob once more, in a blob that isn't there."""
    pickle = _one(pickles(root, False), number)
    path = pickle.with_name("missing_offsets.pkl")
    shutil.copy(pickle, path)
    yield
    assert path.exists() and path.read_bytes() == pickle.read_bytes(), "offsets of a missing blob were touched"
    path.unlink()


DEFECTS = {
    defect.__name__: contextmanager(defect)
    for defect in (
        cut_pickle, offsets_that_miss, damaged_header, missing_blob, linked_blob, linked_dataset, linked_annotations,
        missing_meta, stranger, twin, missing_behind_conflicts,
    )
}  # fmt: skip
