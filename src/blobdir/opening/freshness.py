"""Whether a kept index is still true: whether all that it was made from is as it was then."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from blobdir.discovery import inputs
from blobdir.discovery.deciding import COMPARED
from blobdir.discovery.pairing import blob_record
from blobdir.discovery.unfinished import is_unfinished
from blobdir.errors import BlobdirError, LinkError
from blobdir.sources import LocalStorage, RemoteStorage, Stat
from blobdir.sources.keys import BOTH, NO_PATH

if TYPE_CHECKING:
    from blobdir.discovery import DiscoveryOptions
    from blobdir.index import Header, SourceRecord
    from blobdir.sources import Storage


def renewed(header: Header, storage: Storage, discovery: DiscoveryOptions, *, is_copy: bool = False) -> Header | None:
    """The header of a kept index with the owners, modes and times of now; None where the index isn't true any more.

    Parameters
    ----------
    header : Header
    storage : Storage
        A remote one is listed, and asked for the versions of its blobs and offsets.
    discovery : DiscoveryOptions
        An index of others isn't true.
    is_copy : bool
        Whether the index may have come here with a copy of its project: then contents are compared. One that doesn't
        travel isn't true of a copy, which could be another project of the same sizes and times.
    """
    if header.options != discovery.to_json():
        return None
    try:
        if isinstance(storage, RemoteStorage):
            if discovery.tars:
                return header if _are_same_tars(header, storage) else None
            return header if _is_listed_so(header, storage, discovery) else None
        return _of_now(header, storage, discovery, is_copy=is_copy) if isinstance(storage, LocalStorage) else None
    except (OSError, BlobdirError, ValueError):  # what can't be asked isn't known to be the same
        return None


def _of_now(header: Header, storage: LocalStorage, discovery: DiscoveryOptions, *, is_copy: bool) -> Header | None:
    if is_unfinished(storage.root) or not storage.is_where_it_is_named():
        return None
    place, looked_ns = inputs.place_of(storage), time.time_ns()
    is_copy = is_copy and header.place != place
    found: dict[bool, list[SourceRecord]] = {True: [], False: []}
    for is_blob, records in ((True, header.blobs), (False, header.inputs)):
        for then in records:
            now = _now_of(then, storage, header.built_ns, is_copy=is_copy, follow_links=discovery.follow_links)
            if now is None:
                return None
            found[is_blob].append(now)
    return replace(header, blobs=found[True], inputs=found[False], built_ns=looked_ns, place=place)


def _now_of(
    then: SourceRecord, storage: LocalStorage, looked_ns: int, *, is_copy: bool, follow_links: bool
) -> SourceRecord | None:
    try:
        return inputs.now_of(then, storage, looked_ns, is_copy=is_copy, follow_links=follow_links)
    except (FileNotFoundError, LinkError):
        could_not = then.inode < 0 if then.role == inputs.FOLDER else then.size < 0
        return then if could_not else None  # it wasn't there then either, or led nowhere


def _is_listed_so(header: Header, storage: RemoteStorage, discovery: DiscoveryOptions) -> bool:
    """Whether all folders of a remote project hold the same names, and its blobs and offsets have the same versions."""
    if inputs.unread(header):  # it would take as long to try again as to list the project
        return False
    told = {(it.code, it.path, it.message) for it in header.defects if it.code in (NO_PATH, BOTH)}
    folders = {then.path: then.digest for then in header.inputs if then.role == inputs.FOLDER}
    for folder in storage.walk(follow_links=discovery.follow_links):
        if not inputs.is_input(folder.path):
            continue
        if folder.error is not None or folders.pop(folder.path, None) != inputs.listing_digest(folder):
            return False
    if folders or told != {fault for fault in storage.odd if inputs.is_input(fault[1])}:
        return False
    files = [*header.blobs, *(then for then in header.inputs if then.role not in (inputs.FOLDER, COMPARED))]
    unknown = [then for then in files if then.digest and then.role != inputs.BLOB]
    contents = storage.read_files([then.path for then in unknown])
    if any(inputs.digest_of(data) != then.digest for then, data in zip(unknown, contents, strict=True)):
        return False
    known = [then for then in files if not then.digest or then.role == inputs.BLOB]
    now = storage.stat_many([then.path for then in known])
    return all(_is_same_version(then, now.get(then.path)) for then in known)


def _are_same_tars(header: Header, storage: RemoteStorage) -> bool:
    """Whether patterns match the same names, and all tars have the same versions."""
    if inputs.unread(header):
        return False
    if not all(inputs.is_matched_so(it, storage) for it in header.inputs if it.role == inputs.MATCHED):
        return False
    now = storage.stat_many([then.path for then in header.blobs])
    looked_ns = header.built_ns
    return all(
        then.path in now and inputs.is_same_blob(then, blob_record(then.path, now[then.path]), looked_ns)
        for then in header.blobs
    )


def _is_same_version(then: SourceRecord, now: Stat | None) -> bool:
    if now is None:
        return then.size < 0
    return _stat_of(then).same_content(now)


def _stat_of(record: SourceRecord) -> Stat:
    return Stat("file", record.size, record.mtime_ns, etag=record.etag)
