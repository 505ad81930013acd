"""Indexes of shards that others read: DALI's beside each blob, and one of wids for all blobs of a dataset.

==========================  ==========================================================================================
file                        what it says
==========================  ==========================================================================================
``blob/x-0000-….idx``       DALI's index of that tar, as its ``wds2idx`` writes it: where the parts of each sample lie
``blob/x.wids.json``        wids' shard index: the tars ``x-0000-….tar`` …, and how many samples each has
==========================  ==========================================================================================

Both speak of tars, and of nothing else of a project. So each can be held against the tars that it's about, and whoever
puts a tar into a project or takes one away renews them in the same change (`after`): an index is never of a tar that
isn't there, nor of one that was another. A project has those kinds of which there is a file; new tars of it get them,
too, as the first ones of a dataset do. With its last tar, a dataset's index of wids goes.

Only what is certainly written here is changed (`is_own`): the shard index called for a dataset that names all tars
called so, and no other one beside it. One over all datasets, or of a part of the tars, is somebody's, who alone knows
which belong there; so is one that is a symbolic link. It stays, and the command that makes it untrue says so, as
`verify` does. What isn't an index by its content isn't touched, unless it's what a copy that was cut off leaves of one
(`whole`): the beginning of what is written here, or zeros, under its name, beside the tars that it would be about.

Samples are those of WebDataset: members that stand together, and have one key. DALI separates words by blanks, so a
blank in a name is ``%20``: it reads members by their places, and names are only shown.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, get_args

from blobdir.discovery import layout
from blobdir.errors import PackError, UsageError
from blobdir.packing.names import CUTS_URLS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from blobdir.tarscan import TarTable

ShardIndex = Literal["wids", "dali"]

KEPT: Final = "no change by blobdir renews it, as it isn't one that blobdir wrote: write it anew, or remove it"
DALI: Final = ".idx"
WIDS: Final = ".wids.json"
_DALI_VERSION: Final = b"v1.2"
_DALI_BEGINS: Final = b"v1."
_KIND: Final = "wids-shard-index-v1"
_BLANK: Final = re.compile(rb"[\s\x00-\x20]")
_TAR: Final = ".tar"
_NUMBERED: Final = re.compile(r"-\d{4,}-[0-9a-f]{8}(-\d+)?\.tar")
_UNREAD: Final = "can't be looked at"
_BARE: Final = re.compile(r"[^\s:][^:]*")
_WIDS_BEGINS: Final = b'{\n  "__kind__": "%b"' % _KIND.encode()


class Shard(NamedTuple):
    """What indexes say of a tar.

    Attributes
    ----------
    dali : bytes
        DALI's index.
    samples : int
        As wids counts them.
    size : int
        Bytes of the tar.
    """

    dali: bytes
    samples: int
    size: int


def check_kinds(kinds: Iterable[str]) -> None:
    """Refuse what is no kind of index.

    Raises
    ------
    UsageError
    """
    for kind in kinds:
        if kind not in get_args(ShardIndex):
            raise UsageError(f"shard_index={kind!r}: choose of {', '.join(get_args(ShardIndex))}")


def shard_of(table: TarTable) -> Shard:
    """What indexes say of a tar: of its members with data, in their order."""
    lines, count = [], 0
    for key, parts in _samples(table):
        count += 1
        said = [
            b"%b %d %d %b" % (extension, start, size, _BLANK.sub(lambda blank: b"%%%02X" % blank[0][0], name))
            for extension, start, size, name in parts
            if extension and not _BLANK.search(extension)
        ]
        if said and key and not key.endswith(b"/"):
            lines.append(b" ".join(said))
    return Shard(b"\n".join([b"%b %d" % (_DALI_VERSION, len(lines)), *lines, b""]), count, table.size)


_Part = tuple[bytes, int, int, bytes]
"""Extension, first byte, bytes and name of a member."""


def _samples(table: TarTable) -> Iterator[tuple[bytes, list[_Part]]]:
    """Keys, and their members that stand together; hard links and names without a dot are left out."""
    key, parts = b"", list[_Part]()
    seen: set[int] = set()
    names = table.arena.tobytes().split(b"\0")
    for name, start, end in zip(names, table.start.tolist(), table.end.tolist(), strict=False):
        folder, slash, base = name.rpartition(b"/")
        stem, dot, extension = base.partition(b".")
        if not dot or start in seen:
            continue
        seen.add(start)
        if parts and key != folder + slash + stem:
            yield key, parts
            parts = []
        key = folder + slash + stem
        parts.append((extension, start, end - start, name))
    if parts:
        yield key, parts


# -- wids ----------------------------------------------------------------------------------------------------


def wids_of(slug: str, shards: Mapping[str, Shard]) -> bytes:
    """Shard index of wids: of tars beside it, by their names."""
    content = {"__kind__": _KIND, "wids_version": 1, "name": slug, "shardlist": _listed(shards)}
    return _encoded(content)


def _listed(shards: Mapping[str, Shard]) -> list[dict[str, Any]]:
    return [
        {"url": _url(name), "nsamples": shards[name].samples, "filesize": shards[name].size} for name in sorted(shards)
    ]


def _url(name: str) -> str:
    """A name as wids finds it: what is before a colon would be a URL's scheme, and leading blanks are taken off."""
    return name if _BARE.fullmatch(name) else f"./{name}"


def is_cut(name: str) -> bool:
    """Whether wids takes a part of a name only, see `blobdir.packing.names.CUTS_URLS`: nothing quotes it."""
    return any(char in CUTS_URLS for char in name)


def _encoded(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=2).encode() + b"\n"


def read_wids(data: bytes) -> dict[str, Any] | None:
    """What a shard index of wids says; None where it's none, or says nothing of shards."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or content.get("__kind__") != _KIND:
        return None
    shards = content.get("shardlist")
    is_list = isinstance(shards, list) and all(
        isinstance(one, dict) and isinstance(one.get("url"), str) for one in shards
    )
    return content if is_list else None


def name_in(shard: Mapping[str, Any]) -> str:
    """Name of the tar beside the index that one of its shards is; empty where it's elsewhere."""
    name = str(shard["url"]).removeprefix("./")
    return "" if "/" in name else name


def is_index(name: str) -> bool:
    """Whether a file beside tars is called like an index of either kind."""
    return name.endswith((DALI, WIDS))


def is_dali(data: bytes) -> bool:
    """Whether these are the first bytes of an index of DALI."""
    return data.startswith(_DALI_BEGINS)


def belongs(tar: str, slug: str) -> bool:
    """Whether a tar is one of those that are called so, as `blobdir.packing.names` calls them."""
    return tar.startswith(f"{slug}-") and _NUMBERED.fullmatch(tar, len(slug)) is not None


# -- damaged -------------------------------------------------------------------------------------------------


def is_damaged(name: str, data: bytes) -> bool:
    """Whether a file called like an index is what is left of one: cut off anywhere, zeros, or nothing at all."""
    begins = _DALI_BEGINS if name.endswith(DALI) else _WIDS_BEGINS
    left = data.rstrip(b"\0")
    if left[: len(begins)] != begins[: len(left)]:
        return False
    return len(left) < len(begins) if name.endswith(DALI) else not _is_json(data)


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def is_wids(data: bytes) -> bool:
    """Whether wids may read it: it asks for a version, which all have, and takes lists of indexes as well."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and "wids_version" in content and ("datasets" in content or bool(read_wids(data)))


def twice(shards: Iterable[Mapping[str, Any]], slug: str) -> list[str]:
    """Names of own tars that an index has more than once; others may be so on purpose."""
    times = Counter(name for one in shards if belongs(name := name_in(one), slug))
    return sorted(name for name, count in times.items() if count > 1)


def whole(
    name: str, data: bytes, there: Collection[str], removed: Collection[str], shard: Callable[[str], Shard]
) -> bytes:
    """What an index would say before a change if nothing had damaged it; what isn't damaged, as it is.

    Parameters
    ----------
    name : str
    data : bytes
        Its content.
    there, removed : collection of str
        See `after`.
    shard : callable
        Says of a tar that is there, and stays, what indexes have of it.
    """
    slug = name.removesuffix(WIDS)
    if is_damaged(name, data):
        if name.endswith(DALI):
            return _DALI_VERSION + b" 0\n"
        of = {tar: Shard(b"", 0, 0) if tar in removed else shard(tar) for tar in there if belongs(tar, slug)}
        return wids_of(slug, of) if of else data
    content = read_wids(data) if name.endswith(WIDS) else None
    if content is None or not (doubled := twice(content["shardlist"], slug)):
        return data
    once = {name_in(one): one for one in content["shardlist"] if name_in(one) in doubled}
    others = [one for one in content["shardlist"] if name_in(one) not in doubled]
    return _encoded(content | {"shardlist": [*others, *once.values()]})


# -- changes -------------------------------------------------------------------------------------------------


class Renewed(NamedTuple):
    """What becomes of indexes by a change of tars.

    Attributes
    ----------
    contents : dict
        Name -> content; None for one that goes.
    stale : dict
        Name of each that stays, and isn't true any more -> what it says, or doesn't.
    """

    contents: dict[str, bytes | None]
    stale: dict[str, str]


def is_own(content: Mapping[str, Any], slug: str, there: Collection[str]) -> bool:
    """Whether a shard index is certainly one that was written here: of all tars of that name, and no other one beside.

    Parameters
    ----------
    content : dict
    slug : str
        What is before `WIDS` in the index's name.
    there : collection of str
        Names of the files beside it.
    """
    named = sorted(filter(None, map(name_in, content["shardlist"])))
    return content.get("name") == slug and named == sorted(name for name in there if belongs(name, slug))


def after(
    there: Mapping[str, str],
    read: Callable[[str], bytes],
    shard: Callable[[str], Shard],
    added: Collection[str],
    removed: Collection[str],
    slugs: Collection[str],
) -> Renewed:
    """Indexes that become others by a change of tars.

    Parameters
    ----------
    there : dict
        Name of each thing beside the tars before it -> its kind, as `blobdir.sources.Entry` has it.
    read : callable
        Gives the content of one of these; PackError where it can't be had.
    shard : callable
        Says of an added tar what indexes have of it.
    added, removed : collection of str
        Names of tars; one that is replaced is both.
    slugs : collection of str
        What tars of datasets that get some are called, see `blobdir.packing.names.slug_of`.
    """
    found = Renewed({}, {})
    _after_dali(found, there, read, shard, added, removed)
    is_a_kind = False
    for name in (name for name in there if name.endswith(WIDS)):
        slug = name.removesuffix(WIDS)
        of = {tar for tar in added if belongs(tar, slug)}
        data = _looked_at(name, there, read)
        content = read_wids(data) if data else None
        if data is None and (of or any(belongs(tar, slug) for tar in removed)):
            found.stale[name] = f"is a symbolic link, and {_UNREAD}" if there[name] == "link" else _UNREAD
        if content is None:
            continue
        if there[name] == "link" or not is_own(content, slug, there):
            if fault := _fault(content, of, removed):
                found.stale[name] = fault
            continue
        is_a_kind = True
        new = {tar: shard(tar) for tar in of}
        old = [one for one in content["shardlist"] if name_in(one) not in removed and name_in(one) not in new]
        if new or old != content["shardlist"]:
            shards = sorted([*old, *_listed(new)], key=lambda one: str(one["url"]))
            found.contents[name] = _encoded(content | {"shardlist": shards}) if shards else None
    for slug in slugs if is_a_kind else ():
        of = {tar for tar in added if belongs(tar, slug)}
        if of and f"{slug}{WIDS}" not in there and not any(belongs(tar, slug) for tar in there):
            found.contents[f"{slug}{WIDS}"] = wids_of(slug, {tar: shard(tar) for tar in of})
    return found


def _after_dali(
    found: Renewed,
    there: Mapping[str, str],
    read: Callable[[str], bytes],
    shard: Callable[[str], Shard],
    added: Collection[str],
    removed: Collection[str],
) -> None:
    of_tars = [name for name in there if name.endswith(DALI) and _tar_of(name) in there]
    files = {name: _looked_at(name, there, read) for name in of_tars if there[name] == "file"}
    of_dali = [name for name, data in files.items() if is_dali(data or b"")]
    for name in of_tars:
        if _tar_of(name) in removed and (there[name] == "link" or (name in files and files[name] is None)):
            what = "is a symbolic link" if there[name] == "link" else _UNREAD
            found.stale[name] = f"{what}, and was of {_tar_of(name)}, which isn't there"
    found.contents.update((name, None) for name in of_dali if _tar_of(name) in removed)
    for tar in added if of_dali else ():
        found.contents[tar.removesuffix(_TAR) + DALI] = shard(tar).dali


def _looked_at(name: str, there: Mapping[str, str], read: Callable[[str], bytes]) -> bytes | None:
    """What a file or link holds; nothing of what is neither. None where it can't be read, or leads out or nowhere."""
    try:
        return read(name) if there[name] in ("file", "link") else b""
    except PackError:
        return None


def _fault(content: Mapping[str, Any], added: Collection[str], removed: Collection[str]) -> str:
    """What isn't true after a change in an index that isn't renewed; empty where all is."""
    named = {name_in(one) for one in content["shardlist"]}
    if gone := sorted(named.intersection(removed).difference(added)):
        return f"names {gone[0]}, which isn't there"
    missing = sorted(set(added) - named)
    return f"doesn't name {missing[0]}" if missing else ""


def _tar_of(index: str) -> str:
    return index.removesuffix(DALI) + _TAR


def written(kinds: Collection[str], shards: Mapping[str, Mapping[str, Shard]]) -> dict[str, bytes]:
    """Paths in a new project, and contents, of all indexes of some kinds.

    Parameters
    ----------
    kinds : collection of str
    shards : dict
        Beginning of the names of a dataset's blobs -> names of these -> what is said of each.
    """
    found = {}
    for slug, of in shards.items():
        if "wids" in kinds:
            found[f"{layout.BLOB_DIR}/{slug}{WIDS}"] = wids_of(slug, of)
        if "dali" in kinds:
            found |= {f"{layout.BLOB_DIR}/{name.removesuffix(_TAR)}{DALI}": one.dali for name, one in of.items()}
    return found
