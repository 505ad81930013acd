"""Datasets whose names the SDK doesn't take: one sentence for all who make one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blobdir.discovery import layout
from blobdir.packing.report import Problem

if TYPE_CHECKING:
    from blobdir.packing.provenance import Provenance


def dropped_by_the_sdk(path: str) -> list[Problem]:
    """That the SDK drops a dataset, where it does: at most one problem."""
    if not (refused := layout.sdk_refusal(path)):
        return []
    text = f"the name {refused[0]} ends in {refused[1]!r}: the SDK drops this dataset without a word"
    return [Problem("sdk-name", layout.dataset_name(path), text)]


def made_by_name(known: Provenance, path: str) -> list[Problem]:
    """The same of a dataset that a change makes since somebody has named it, with what was probably meant.

    Parameters
    ----------
    known : Provenance
        The project before the change: a dataset that it has makes no problem.
    path : str
    """
    if known.is_dataset(path):
        return []
    outer, _, last = layout.dataset_name(path).rpartition("/")
    meant = f"; if {outer} was meant, whose {last}/ this would be, name the dataset {outer}"
    hint = meant if outer and layout.is_item_folder(last) else ""
    found = dropped_by_the_sdk(path)
    if not found and hint:  # masks_x
        return [Problem("sdk-name", layout.dataset_name(path), f"is a new dataset, in {outer}{hint}")]
    return [Problem(one.code, one.path, one.message + hint) for one in found]
