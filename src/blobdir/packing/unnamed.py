"""What becomes of the members of a tar that no offsets name, when the tar is written anew.

============================================================  ============================================
member                                                        what becomes of it
============================================================  ============================================
an image: what ``blobdir offsets`` takes for one              goes: that is what a removed image is
files of an image: ``a.json``, ``._a.jpg`` beside ``a.jpg``   as the image: stay with it, or go with it
                                                              (in tars of labels there are no such)
hidden files, and what lies in hidden folders                 stay: they never were images of the project
what blobdir itself has removed, of these two                 goes, see `blobdir.discovery.released`
entries of folders, links, devices                            go: they have no bytes
============================================================  ============================================

What stays is called as before, with its folders: they tell whose ``a.json`` is whose. Only what its entry calls by a
number (``a_1.png``, see `blobdir.offsets.names.numbered`) gets that name, in its folder, and its files with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from blobdir.offsets.choosing import doubles_of, is_certain, key_of, no_images, side_files_of
from blobdir.offsets.names import is_called
from blobdir.tarscan import Kind, LeftOut, path_of
from blobdir.tarwriting.format import archive_end, member_header

if TYPE_CHECKING:
    from blobdir.packing.writer import Span
    from blobdir.tarscan import TarTable

Named = Mapping[tuple[int, int], Collection[bytes]]
"""Byte range -> names that its members get."""

HIDDEN: Final = Kind("hidden file that no offsets name", "hidden files that no offsets name")
OF_NOBODY: Final = Kind("file of an image that is gone", "files of images that are gone")
OF_IMAGE: Final = Kind("file of an image that no offsets name", "files of images that no offsets name")


@dataclass(slots=True)
class Members:
    """The members of a tar that is to be written anew.

    Attributes
    ----------
    kept : dict
        Byte range -> names, of those that stay.
    hidden : list of LeftOut
        Those of them that no offsets name, and that are no files of images.
    files : list of LeftOut
        Those of them that no offsets name, and that are files of images; or were images that were removed elsewhere.
    gone : list of int
        Rows of those that go.
    of_gone : list of LeftOut
        Those of them that are files of images.
    """

    kept: dict[Span, set[bytes]]
    hidden: list[LeftOut] = field(default_factory=list)
    files: list[LeftOut] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    of_gone: list[LeftOut] = field(default_factory=list)


def judge(
    named: Named,
    members: TarTable,
    *,
    unnamed_stay: bool = True,
    labels: bool = False,
    removed: Collection[tuple[int, int]] = (),
) -> Members:
    """Say which members stay.

    Parameters
    ----------
    named : dict
        Byte range -> names, of what offsets name; see `names_of`.
    members : TarTable
    unnamed_stay : bool
        Whether hidden files stay, and files of images that stay.
    labels : bool
        Whether it's a tar of annotations: ``a.png.json`` is no file of an image there.
    removed : collection of (int, int)
        Byte ranges of what blobdir has removed.
    """
    spans = spans_of(members)
    found = Members({span: set(names) for span, names in named.items()})
    unnamed = [row for row, span in enumerate(spans) if span not in named]
    if not unnamed:
        return found
    others = no_images(members)
    odd = (
        () if labels else [row for row, span in enumerate(spans) if span in named and not is_certain(members.name(row))]
    )
    beside = {} if labels else side_files_of(members, odd)
    sides = {row: images for row, images in beside.items() if row not in others}
    owners_of = {
        row: seen
        for row, images in (sides | doubles_of(members)).items()
        if (seen := [image for image in images if image not in others])
    }
    images = {spans[row] for row in unnamed if row not in owners_of and row not in others}

    def left_out(kind: Kind, row: int) -> LeftOut:
        return LeftOut(kind, members.name(row), spans[row][0], row)

    for row in unnamed:
        span, name = spans[row], members.name(row)
        if span in removed:
            found.gone.append(row)
            continue
        owners = owners_of.get(row, ())
        is_of_named = any(spans[owner] in named for owner in owners)
        if unnamed_stay and span not in images and is_of_named:
            found.files.append(left_out(OF_IMAGE, row))
            files = found.kept.setdefault(span, set())
            called = _side_name if row in sides else _double_name
            for owner in owners:
                own = members.name(owner)
                files.update(name if image == own else called(name, image) for image in named.get(spans[owner], ()))
        elif unnamed_stay and row in others and not owners and span not in images:
            found.hidden.append(left_out(HIDDEN, row))
            found.kept.setdefault(span, set()).add(name)
        else:
            found.gone.append(row)
            if owners:
                found.of_gone.append(left_out(OF_IMAGE if is_of_named else OF_NOBODY, row))
    return found


def _side_name(name: bytes, image: bytes) -> bytes:
    """What ``a.json`` is called when its image is called so."""
    return key_of(image) + name[len(key_of(name)) :]


def _double_name(name: bytes, image: bytes) -> bytes:
    """What ``._a.png`` is called when its image is called so."""
    folder, slash, base = image.rpartition(b"/")
    return (b"__MACOSX/" if path_of(name).startswith(b"__MACOSX/") else b"") + folder + slash + b"._" + base


def spans_of(members: TarTable) -> list[Span]:
    """Byte range of each member."""
    return list(zip(members.start.tolist(), members.end.tolist(), strict=True))


def names_of(entries: Iterable[tuple[bytes, int, int]], members: TarTable) -> Named:
    """Byte range -> the names that members need to be what entries say: ``s/a.png`` is ``a.png`` for others, too.

    Hard links of a tar share a range, and may have names that have nothing to do with each other.
    """
    named: dict[Span, dict[bytes, bytes]] = {}  # name of the entry -> the member's, as soon as it's found
    for name, start, end in entries:
        named.setdefault((start, end), {})[name] = b""
    for names in named.values():
        if len(names) > 1:
            for name in [name for name in names if any(name != other and is_called(name, other) for other in names)]:
                del names[name]
    spans = spans_of(members)
    for row, span in enumerate(spans):
        for name, found in named.get(span, {}).items():
            own = members.name(row)
            if is_called(name, own) and (not found or own == name or name != found > own):
                named[span][name] = own
    left = {span for span, names in named.items() if not all(names.values())}
    for row, span in enumerate(spans) if left else ():
        if span in left:
            folder, slash, _ = members.name(row).rpartition(b"/")
            named[span] |= {n: n if b"/" in n else folder + slash + n for n, found in named[span].items() if not found}
    return {span: {found or name for name, found in names.items()} for span, names in named.items()}


def member_called(name: bytes, names: Collection[bytes]) -> bytes:
    """The name of the member, of those that `names_of` has found, that an entry's name stands for."""
    return name if name in names else min(member for member in names if is_called(name, member))


def compacted_size(*several: Named) -> int:
    """Bytes of a tar that holds these members only, of one tar or several."""
    size = sum(
        len(member_header(name, end - start)) + -(-(end - start) // 512) * 512
        for named in several
        for (start, end), names in named.items()
        for name in names
    )
    return size + len(archive_end(size))
