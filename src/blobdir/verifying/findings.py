"""What verifying finds: few lines for many cases of one kind."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from blobdir.errors import BlobdirError

Severity = Literal["error", "warning"]
EXAMPLES = 20
"""Cases of one kind that are kept; all are counted."""

ERRORS = frozenset(
    {
        "tar-damaged", "offset-no-member", "offset-size", "offset-name", "offset-past-end", "offset-overlap",
        "offsets-unreadable", "unreadable", "checksum", "not-decodable", "annotation-invalid", "annotation-size",
        "annotation-turned",
        "class-unknown", "tag-unknown", "blob-missing", "blob-unreadable", "meta", "side-invalid", "link-dangling",
        "link-circular", "change-unfinished", "blob-not-checked", "images-left-out",
        "released-unreadable", "state-odd",
    }
)  # fmt: skip
FOR_SUPERVISELY = frozenset(
    {
        "sdk-name", "sdk-double", "sdk-empty", "sdk-folder", "sdk-packed", "meta-missing", "image-without-annotation",
        "offsets-repeated", "blob-twice", "sdk-encoding", "sdk-link", "json-number", "sdk-object", "sdk-tag",
        "sdk-meta", "sdk-upload", "sdk-outside",
    }
)  # fmt: skip
"""Warnings that are errors for who wants to open the project by the SDK, or bring it to the platform."""


def in_words(error: Exception) -> str:
    """What an error says, in words of the format or of the system, never in those of Python's classes."""
    if isinstance(error, OSError) and not isinstance(error, BlobdirError) and error.strerror:
        return f"can't be read: {error.strerror}"
    return str(error)


@dataclass(slots=True)
class Finding:
    """One kind of thing that isn't as it must be, in one file.

    Attributes
    ----------
    code : str
        See ``docs/guides/verifying.md``.
    path : str
        The blob, pickle or dataset.
    count : int
    examples : list of str
        The first of them.
    severity : {"error", "warning"}
    """

    code: str
    path: str
    count: int = 0
    examples: list[str] = field(default_factory=list)
    severity: Severity = "error"


@dataclass(slots=True)
class VerifyReport:
    """What was looked at, and what was found.

    Attributes
    ----------
    blobs, blob_bytes, entries, annotations, decoded, undecoded : int
        What was looked at.
    files : int
        Images that are files, masks and the other files of images that were looked at.
    masks : int
        Of these, images in ``seg/`` and ``masks_*/``: their pixels are never looked at.
    checksums : int
        Blobs whose checksum was known, and held or not.
    audience : str
        Whose rules make warnings errors: ``"supervisely"``, or nobody's.
    findings : list of Finding
    seconds : float
    """

    blobs: int = 0
    blob_bytes: int = 0
    entries: int = 0
    annotations: int = 0
    files: int = 0
    masks: int = 0
    decoded: int = 0
    undecoded: int = 0
    checksums: int = 0
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0
    audience: str = ""
    _found: dict[tuple[str, str], Finding] = field(default_factory=dict, repr=False)

    def add(self, code: str, path: str, example: str, count: int = 1, severity: Severity | None = None) -> None:
        """Note `count` cases, with one of them as an example."""
        key = code, path
        if key not in self._found:
            refused = self.audience == "supervisely" and code in FOR_SUPERVISELY
            known: Severity = "error" if refused or code in ERRORS else "warning"
            self._found[key] = Finding(code, path, severity=known if refused else severity or known)
            self.findings.append(self._found[key])
        found = self._found[key]
        found.count += count
        if len(found.examples) < EXAMPLES:
            found.examples.append(example)

    def wants(self, code: str, path: str, *, first: bool = False) -> bool:
        """Whether another example of this kind would be kept; or whether it would be the first."""
        known = self._found.get((code, path))
        return known is None or (not first and len(known.examples) < EXAMPLES)

    @property
    def errors(self) -> int:
        """Cases that make something wrong or unreadable."""
        return sum(finding.count for finding in self.findings if finding.severity == "error")

    @property
    def warnings(self) -> int:
        """Cases that cost nothing."""
        return sum(finding.count for finding in self.findings if finding.severity == "warning")

    @property
    def unchecked(self) -> int:
        """Things that couldn't be looked at; each is a finding ``not-checked`` with its reason."""
        return sum(finding.count for finding in self.findings if finding.code == "not-checked")

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        values = asdict(self)
        del values["_found"]
        return values | {"errors": self.errors, "warnings": self.warnings, "unchecked": self.unchecked}
