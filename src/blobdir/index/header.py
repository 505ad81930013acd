"""What the index knows besides its rows: sources, datasets, defects. Small, and kept as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any, Literal, TypeVar, get_type_hints

from blobdir.errors import IndexFormatError

T = TypeVar("T")
_MOST = (1 << 63) - 1

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Defect:
    """Something about the project that isn't as it must be.

    Attributes
    ----------
    severity : {"error", "warning"}
        An error makes some file or listing unavailable; a warning doesn't.
    code : str
        One word for programs, such as ``offsets-truncated`` or ``blob-missing``.
    path : str
        The file or folder that it is about, relative to the project.
    message : str
        What, where, and what to do.
    """

    severity: Severity
    code: str
    path: str
    message: str


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """A file or folder that the index was made from, as it was then.

    Attributes
    ----------
    path : str
        Relative to the project.
    role : {"blob", "offsets", "folder", "deciding", "compared", "unread"}
    size, mtime_ns, mode, uid, gid, etag, inode, ctime_ns
        As in `blobdir.sources.Stat`.
    defect : int
        Number of the defect that makes a blob unreadable; -1 for none.
    digest : str
        Of its content, where times don't tell; see `blobdir.discovery.inputs`.
    """

    path: str
    role: str
    size: int = -1
    mtime_ns: int = 0
    mode: int = -1
    uid: int = -1
    gid: int = -1
    etag: str = ""
    defect: int = -1
    inode: int = -1
    ctime_ns: int = 0
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Header:
    """Everything that isn't a column.

    Attributes
    ----------
    options : dict
        The options of discovery that shape the tree; an index made with others doesn't serve.
    blobs : list of SourceRecord
        Source number ``FIRST_BLOB + i`` of the rows is ``blobs[i]``.
    inputs : list of SourceRecord
        Everything whose change makes the index stale: offsets pickles, folders, ``meta.json``.
    datasets : list of str
        Paths of the datasets, as on disk (``train/datasets/hard``), in order.
    defects : list of Defect
    incomplete : dict
        Path of a directory whose listing isn't complete -> numbers of the defects that say why.
    links : list of str
        Targets of symbolic links; rows refer to them by number.
    built_ns : int
        When the inputs were looked at, nanoseconds since 1970.
    place : str
        Where the project was then: its path and the inode of its folder, or a digest of its URL. A copy has another.
    """

    options: dict[str, Any] = field(default_factory=dict)
    blobs: list[SourceRecord] = field(default_factory=list)
    inputs: list[SourceRecord] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)
    defects: list[Defect] = field(default_factory=list)
    incomplete: dict[str, list[int]] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)
    built_ns: int = 0
    place: str = ""

    @property
    def is_scanned(self) -> bool:
        """Whether discovery has read the headers of all members, in versions of the blobs that are known again."""
        return bool(self.options.get("tars")) and all(blob.etag or blob.mtime_ns for blob in self.blobs)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Header:
        """Back from plain values; IndexFormatError where they don't fit."""
        try:
            header = cls(
                options=_of(values["options"], dict),
                blobs=[_record(SourceRecord, record) for record in _of(values["blobs"], list)],
                inputs=[_record(SourceRecord, record) for record in _of(values["inputs"], list)],
                datasets=[_of(path, str) for path in _of(values["datasets"], list)],
                defects=[_record(Defect, defect) for defect in _of(values["defects"], list)],
                incomplete={
                    _of(path, str): [_of(i, int) for i in _of(why, list)]
                    for path, why in _of(values["incomplete"], dict).items()
                },
                links=[_of(target, str) for target in _of(values["links"], list)],
                built_ns=_of(values["built_ns"], int),
                place=_of(values["place"], str),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise IndexFormatError(f"the header of the index doesn't fit: {error!r}") from error
        for record in header.blobs + header.inputs:
            parts = record.path.split("/")
            if record.path.startswith("/") or ".." in parts or "\0" in record.path:
                raise IndexFormatError(f"the index names a source outside the project: {record.path!r}")
            if not all(-1 <= number < 1 << 32 for number in (record.mode, record.uid, record.gid)):
                raise IndexFormatError(f"the index says what no file's mode or owner can be: {record.path!r}")
        return header


def _of(value: Any, kind: type[T]) -> T:
    if type(value) is not kind or (kind is int and not -_MOST <= value <= _MOST):  # type: ignore[operator]  # an int
        raise TypeError(f"{value!r:.40} isn't of the type {kind.__name__}, or too large")
    return value


@cache
def _types(kind: type) -> dict[str, Any]:
    """Types of a dataclass's fields: finding them takes longer than a record."""
    return get_type_hints(kind)


def _record(kind: type[T], values: Any) -> T:
    """A dataclass of texts and whole numbers."""
    fields = _types(kind)  # type: ignore[arg-type]  # a class can be hashed
    for name, value in _of(values, dict).items():
        _of(value, int if fields[name] is int else str)
    return kind(**values)
