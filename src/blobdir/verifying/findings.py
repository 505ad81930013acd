"""What verifying finds: few lines for many cases of one kind."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning"]
EXAMPLES = 20
"""Cases of one kind that are kept; all are counted."""

ERRORS = frozenset(
    {
        "tar-damaged", "offset-no-member", "offset-size", "offset-name", "offset-past-end", "offset-overlap",
        "unreadable", "checksum", "not-decodable", "annotation-invalid", "annotation-size", "class-unknown",
        "tag-unknown", "blob-missing",
    }
)  # fmt: skip


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
    blobs, blob_bytes, entries, annotations, decoded : int
        What was looked at.
    checksums : int
        Blobs whose checksum was known, and held or not.
    findings : list of Finding
    seconds : float
    """

    blobs: int = 0
    blob_bytes: int = 0
    entries: int = 0
    annotations: int = 0
    decoded: int = 0
    checksums: int = 0
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0
    _found: dict[tuple[str, str], Finding] = field(default_factory=dict, repr=False)

    def add(self, code: str, path: str, example: str, count: int = 1, severity: Severity | None = None) -> None:
        """Note `count` cases, with one of them as an example."""
        key = code, path
        if key not in self._found:
            known: Severity = "error" if code in ERRORS else "warning"
            self._found[key] = Finding(code, path, severity=severity or known)
            self.findings.append(self._found[key])
        found = self._found[key]
        found.count += count
        if len(found.examples) < EXAMPLES:
            found.examples.append(example)

    @property
    def errors(self) -> int:
        """Cases that make something wrong or unreadable."""
        return sum(finding.count for finding in self.findings if finding.severity == "error")

    @property
    def warnings(self) -> int:
        """Cases that cost nothing."""
        return sum(finding.count for finding in self.findings if finding.severity == "warning")

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        values = asdict(self)
        del values["_found"]
        return values | {"errors": self.errors, "warnings": self.warnings}
