"""Blobs that are whole, with the notes by which a pack that was cut off knows them again."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from blobdir.discovery import layout
from blobdir.inside import read_whole
from blobdir.offsets import encode_offsets
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


def _name(shard: Shard) -> str:
    return f"{shard.key()}.json"


def _note(shard: Shard, new: NewFolder) -> Path:
    return new.state / _name(shard)


def finish_shard(shard: Shard, written: WrittenShard, places: Places, part: str, new: NewFolder) -> Finished:
    """Give a tar that is on the disk its name, and write its offsets; last comes the note that it's done."""
    done = Finished(place_of(shard, written.sha256), _pickle_of(shard, written.sha256), written)
    new.made.write(done.pickle, [encode_offsets(offsets_table(places, shard.names))])
    new.made.bring(f"{new.made.notes}/{part}", done.place, written.size, written.sha256)
    note_shard(shard, done, new)
    return done


def note_shard(shard: Shard, done: Finished, new: NewFolder) -> None:
    """Note that a shard is done, and which files these are, as they were taken last."""
    pickle = new.made.known(done.pickle)
    note = asdict(done.written) | {"plan": shard.digest(), "pickle_sha256": pickle.digest}
    note["tar"] = new.made.known(done.place).stamp.kept()
    new.made.write(f"{new.made.notes}/{_name(shard)}", [json.dumps(note).encode("utf-8", "surrogateescape")])


def known_shard(shard: Shard, new: NewFolder, *, checksum: bool) -> Finished | None:
    """What a pack that was cut off has written already, if it's whole, and what would be written now.

    A shard's digest covers size, times and inode number of all its sources: an image that was replaced by another of
    the same size is noticed, and where it might not be, since it was new when it was read, nothing is known. A tar is
    the one that was noted if nobody has written to it or replaced it since; else its bytes decide, as of offsets.

    Parameters
    ----------
    checksum : bool
        Read the tar in any case.
    """
    made, done, is_same = new.made, None, False
    try:
        text = read_whole(_note(shard, new), follow=False).decode("utf-8", "surrogateescape")
        note: dict[str, Any] = json.loads(text)
        plan, pickle_sha256, tar = note.pop("plan"), note.pop("pickle_sha256"), note.pop("tar")
        written = WrittenShard(**note)
        written.problems = [(code, path, text) for code, path, text in written.problems]
        done = Finished(place_of(shard, written.sha256), _pickle_of(shard, written.sha256), written)
        if not written.settled or plan != shard.digest():
            return None
        # Taken first: what becomes of them from here on is noticed when all is done.
        found = made.take(done.place, digest=written.sha256)
        made.take(done.pickle, digest=pickle_sha256)
        is_same = found.size == written.size and made.read_digest(done.pickle) == pickle_sha256
        if is_same and (checksum or found.kept() != tar):
            is_same = made.read_digest(done.place) == written.sha256
    except (OSError, ValueError, KeyError, TypeError):
        is_same = False
    if done and not is_same:
        made.drop(done.place)
        made.drop(done.pickle)
    return done if is_same else None


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
                new.made.drop_folder(os.path.relpath(path, new.work))
