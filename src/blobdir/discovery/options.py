"""What shapes the presented tree."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from blobdir.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

OnConflict = Literal["error", "skip", "rename", "replace"]
OnDefect = Literal["refuse", "ignore", "raise"]
TarLayout = Literal["files", "samples", "auto"]


RULES = 9
"""Version of the rules of discovery: an index that was made by others isn't used."""


@dataclass(frozen=True, slots=True)
class DiscoveryOptions:
    """Options of a project's view.

    Attributes
    ----------
    show_blobs : bool
        Show ``blob/``, ``ann.blob/`` and the offsets pickles as files too. Off by default: a tool that sees both
        forms of an image trips.
    follow_links : bool
        Follow symbolic links that lead outside the project. Off by default: a project from somebody else could
        point anywhere.
    on_conflict : {"error", "skip", "rename", "replace"}
        One name in one folder with different contents: reading it is an error that names both; or the first wins
        (plain files before blobs, blobs by name); or later ones become ``name_1.ext``; or the last wins.
    on_defect : {"refuse", "ignore", "raise"}
        What can't be trusted (a folder whose offsets can't be read in full, a blob that doesn't fit its offsets):
        only that part answers with an error; or what is left of it is served; or opening the project fails.
    tars : tuple of str
        Patterns of the tars that are shown as they are, below the storage's root, in order; see
        `blobdir.discovery.tarplaces`. None for a project.
    layout : {"files", "samples", "auto"}
        Of tars: their files by their paths; or WebDataset's samples, as a project shows images and annotations (see
        `blobdir.discovery.tarsamples`); or samples where at least half of the images are such, else files.
    """

    show_blobs: bool = False
    follow_links: bool = False
    on_conflict: OnConflict = "error"
    on_defect: OnDefect = "refuse"
    tars: tuple[str, ...] = ()
    layout: TarLayout = "files"

    def __post_init__(self) -> None:
        object.__setattr__(self, "tars", tuple(self.tars))  # of JSON, a list
        if self.on_conflict not in get_args(OnConflict):
            raise UsageError(f"on_conflict={self.on_conflict!r}: choose one of {', '.join(get_args(OnConflict))}")
        if self.on_defect not in get_args(OnDefect):
            raise UsageError(f"on_defect={self.on_defect!r}: choose one of {', '.join(get_args(OnDefect))}")
        if self.layout not in get_args(TarLayout):
            raise UsageError(f"layout={self.layout!r}: choose one of {', '.join(get_args(TarLayout))}")

    def to_json(self) -> dict[str, Any]:
        """As plain values, with the version of the rules by which a tree is made of what is found."""
        return {**self.shaping(), "rules": RULES}

    def shaping(self) -> dict[str, Any]:
        """The options by name; without those that a project doesn't have."""
        values = {**asdict(self), "tars": list(self.tars)}
        if not self.tars:
            del values["tars"]
        if not self.tars or self.layout == "files":
            del values["layout"]
        return values

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> DiscoveryOptions:
        """The options that an index was made with, as its header has them."""
        values = {key: value for key, value in options.items() if key != "rules"}
        return cls(**values)
