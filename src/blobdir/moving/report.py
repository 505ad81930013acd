"""What `fetch` and `push` have done, or would do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blobdir.packing import Problem


@dataclass(slots=True)
class FetchReport:
    """What was fetched.

    Attributes
    ----------
    files, size : int
        Files and bytes of the project.
    resumed : int
        Bytes of them that an earlier try had fetched.
    verified : int
        Blobs whose checksum was compared with that of ``blob/SHA256SUMS``.
    problems : list of Problem
        Annotations that can't be used, so that their images weren't chosen.
    without_annotation : int
        Images that weren't chosen because they have none, and so neither class nor tag.
    others : list of str
        Where images were chosen: files, and folders with a slash behind them, that belong to no image and weren't
        fetched.
    defects : list of str
        What is wrong with the project, and was copied as it is, with ``with_defects``.
    left_out : dict
        Key -> why, of what can't be a file here, or is listed and isn't there, with ``with_defects``.
    seconds : float
    """

    files: int = 0
    size: int = 0
    resumed: int = 0
    verified: int = 0
    problems: list[Problem] = field(default_factory=list)
    without_annotation: int = 0
    others: list[str] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether everything that was asked for is there."""
        return not self.problems and not self.left_out


@dataclass(slots=True)
class PushReport:
    """What was pushed, or with ``dry_run`` would be.

    Attributes
    ----------
    files, size : int
        Files and bytes that were uploaded.
    skipped : int
        Files that were there already, with the same content.
    failed : dict
        Path -> why, of what could not be uploaded or removed.
    left_out : dict
        Path -> why, of what isn't uploaded: links in circles, what is no file; with ``with_defects`` also links that
        lead outside the project, to what only blobs hold, or nowhere.
    emptied : list of str
        Blobs that aren't uploaded because blobdir removed the last image in them; `compact` deletes them.
    new, replaced, deleted : list of str
        Paths that were not there; that were there with another content; that the project doesn't have, and that are
        gone now, whatever their keys look like.
    index : str
        Where the index was put; empty where it wasn't.
    defects : list of str
        What is wrong with the project, and is copied as it is, with ``with_defects``.
    seconds : float
    """

    files: int = 0
    size: int = 0
    skipped: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    emptied: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    index: str = ""
    defects: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether everything of the project is at its place."""
        return not self.failed and not self.left_out
