"""One member, by the headers that stand before its data: what a single look at an archive tells, without a scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .header import NAME_BYTES, SIZE, SPECIAL_TYPES, TYPE_AT, checksum_holds, full_name, number, text_field
from .pax import Overrides, parse_records
from .source import BLOCK

REACH_BYTES: Final = 64 << 10
"""How far before its data a member's own headers are looked for. A name of 4,095 bytes needs an eighth of that."""

_EXTENSIONS: Final = b"xXLK"
_PLAIN: Final = b"0\0"


@dataclass(frozen=True, slots=True)
class Headed:
    """What the headers before some data say.

    Attributes
    ----------
    name : bytes
        Full name of the member.
    size : int
        Bytes of its data.
    is_whole : bool
        Whether the name is all of it, for sure: one that fills the header's field may be the beginning of a long one.
    """

    name: bytes
    size: int
    is_whole: bool


def member_before(data: bytes) -> Headed | None:
    """Read the headers at the end of `data`: the member's own, and those before it that give it a long name or size.

    Parameters
    ----------
    data : bytes
        What stands in the archive before the data of a member, up to its first byte. 512 bytes are enough for most
        members, `REACH_BYTES` for all that are known.

    Returns
    -------
    Headed or None
        None where no regular file's header stands there.
    """
    header = data[-BLOCK:]
    if len(header) < BLOCK or header[TYPE_AT] in SPECIAL_TYPES or not checksum_holds(header):
        return None
    over = _extensions(data[:-BLOCK])
    path, size = over.get("path"), over.get("size")
    if size is None:
        size = number(header[SIZE])
    if size is None or size < 0:
        return None
    if path is None:
        return Headed(full_name(header), size, is_whole=header[NAME_BYTES - 1] == 0)
    return Headed(path.rstrip(b"/"), size, is_whole=True)


def says_plainly(header: bytes, name: bytes, size: int) -> bool:
    """Whether the block at the end of `header` plainly says this member: a tenth of the work of `member_before`.

    False where it takes more than this block to tell, as of 0 bytes, of which a pax record may say that they are more.
    The checksum isn't looked at.
    """
    if len(header) != BLOCK:
        header = header[-BLOCK:]
    at = len(name)
    if not (header.startswith(name) and at < NAME_BYTES - 1):
        at = header.find(b"\0", 0, NAME_BYTES - 1)  # -1: of a field that is full, more of the name may follow
        if at < 0 or not header.endswith(b"/" + name, 0, at):
            return False
    return (
        size > 0
        and len(header) == BLOCK
        and header[at] == 0
        and header[TYPE_AT] in _PLAIN
        and header.startswith(b"%011o" % size, SIZE.start)
        and header[SIZE.stop - 1] in b"\0 "
    )


def _extensions(data: bytes) -> Overrides:
    """What extended headers at the end of `data` say: of a kind the last, at the place of the first, as in a scan."""
    of_kind: dict[int, Overrides] = {}
    end = len(data)
    while (at := _extension_ending(data, end)) >= 0:
        header = data[at : at + BLOCK]
        payload = data[at + BLOCK : at + BLOCK + (number(header[SIZE]) or 0)]
        kind = ord("x") if header[TYPE_AT] == ord("X") else header[TYPE_AT]
        of_kind[kind] = of_kind.pop(kind) if kind in of_kind else _said(kind, payload)
        end = at
    found: Overrides = {}
    for said in of_kind.values():
        found |= said
    return found


def _extension_ending(data: bytes, end: int) -> int:
    """Where the extended header begins whose payload ends at byte `end`; -1 where there is none."""
    for at in range(end - BLOCK, -1, -BLOCK):
        if data[at + TYPE_AT] in _EXTENSIONS and checksum_holds(data[at : at + BLOCK]):
            size = number(data[at : at + BLOCK][SIZE])
            return at if size is not None and at + BLOCK + (size + 511 & -BLOCK) == end else -1
    return -1


def _said(kind: int, payload: bytes) -> Overrides:
    if kind == ord("L"):
        return {"path": text_field(payload)}
    return {} if kind == ord("K") else parse_records(payload)
