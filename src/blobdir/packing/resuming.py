"""Blobs that are whole, with the notes by which a pack that was cut off knows them again."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from blobdir.discovery import layout
from blobdir.durable import sync_folder, write_whole
from blobdir.inside import open_plain, read_whole
from blobdir.offsets import write_offsets
from blobdir.packing.names import stem_of
from blobdir.packing.shards import WrittenShard, offsets_table

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from blobdir.packing.newfolder import NewFolder
    from blobdir.packing.shards import Places, Shard


@dataclass(frozen=True, slots=True)
class Finished:
    """A blob with its offsets.

    Attributes
    ----------
    place, pickle : str
        Their paths in the project.
    written : WrittenShard
    """

    place: str
    pickle: str
    written: WrittenShard


def place_of(shard: Shard, digest: str) -> str:
    """Where a shard's tar lies in the project."""
    folder = layout.BLOB_DIR if shard.images else layout.join(shard.dataset, layout.PACKED_ANNOTATIONS)
    return f"{folder}/{stem_of(shard.slug, shard.number, digest)}.tar"


def _pickle_of(shard: Shard, digest: str) -> str:
    folder = shard.dataset if shard.images else layout.join(shard.dataset, layout.PACKED_ANNOTATIONS)
    return f"{folder}/{stem_of(shard.slug, shard.number, digest)}{layout.OFFSETS_SUFFIX}"


def _note(shard: Shard, new: NewFolder) -> Path:
    return new.state / f"{shard.key()}.json"


def finish_shard(shard: Shard, written: WrittenShard, places: Places, part: str, new: NewFolder) -> Finished:
    """Give a tar that is on the disk its name, and write its offsets; last comes the note that it's done."""
    done = Finished(place_of(shard, written.sha256), _pickle_of(shard, written.sha256), written)
    place, pickle = new.work / done.place, new.work / done.pickle
    for folder in (place.parent, pickle.parent):
        folder.mkdir(parents=True, exist_ok=True)
    write_offsets(pickle, offsets_table(places, shard.names))
    os.rename(part, place)
    sync_folder(place.parent)
    note = asdict(written) | {"plan": shard.digest(), "pickle_sha256": _digest(pickle)}
    write_whole(_note(shard, new), [json.dumps(note).encode("utf-8", "surrogateescape")])
    return done


def known_shard(shard: Shard, new: NewFolder, *, checksum: bool) -> Finished | None:
    """What a pack that was cut off has written already, if it's whole, and what would be written now.

    A shard's digest covers size, times and inode number of all its sources: an image that was replaced by another of
    the same size is noticed, and where it might not be, since it was new when it was read, nothing is known. Of a tar
    the size is compared, of offsets the bytes.

    Parameters
    ----------
    checksum : bool
        Read the tar as well.
    """
    try:
        text = read_whole(_note(shard, new), follow=False).decode("utf-8", "surrogateescape")
        note: dict[str, Any] = json.loads(text)
        plan, pickle_sha256 = note.pop("plan"), note.pop("pickle_sha256")
        written = WrittenShard(**note)
        written.problems = [(code, path, text) for code, path, text in written.problems]
        done = Finished(place_of(shard, written.sha256), _pickle_of(shard, written.sha256), written)
        place, pickle = new.work / done.place, new.work / done.pickle
        if not written.settled or plan != shard.digest():
            return None
        if place.lstat().st_size != written.size or _digest(pickle) != pickle_sha256:
            return None
        if checksum and _digest(place) != written.sha256:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return done


def _digest(path: Path) -> str:
    with open(open_plain(path, follow=False), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def clean(new: NewFolder, shards: Iterable[Shard], known: dict[Shard, Finished]) -> None:
    """Remove what a pack that was cut off has left, but for blobs that are whole: half a file isn't told from one."""
    keep = {new.work / path for done in known.values() for path in (done.place, done.pickle)}
    keep |= {_note(shard, new) for shard in shards if shard in known}
    stay = {str(new.work), str(new.state.parent), str(new.state)}
    for folder, folders, names in os.walk(new.work, topdown=False):
        for name in names:
            if new.work.joinpath(folder, name) not in keep:
                os.unlink(os.path.join(folder, name))
        for name in folders:
            path = os.path.join(folder, name)
            if os.path.islink(path):
                os.unlink(path)
            elif path not in stay and not os.listdir(path):
                os.rmdir(path)
