"""Classes that get any shapes when projects are merged: then each of their objects must say its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blobdir.datasets import open_view
from blobdir.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


def check_widened(root: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Refuse classes of other shapes than before if an object of them doesn't say its shape: nobody would know it.

    Parameters
    ----------
    root : str
        A project.
    before, after : mapping
        Its ``meta.json``, and what that would be.

    Raises
    ------
    UsageError
    """
    shapes = {item.get("title"): item.get("shape") for item in after.get("classes", [])}
    wider = {item.get("title") for item in before.get("classes", []) if shapes[item.get("title")] != item.get("shape")}
    if not wider:
        return
    for dataset in open_view(root).values():
        for one in dataset.annotations(dataset.names):
            objects = (one.value or {}).get("objects", []) if not one.fault else []
            unsaid = (item["classTitle"] for item in objects if "geometryType" not in item)
            if (title := next((title for title in unsaid if title in wider), None)) is not None:
                text = f"has a {title!r} without a geometryType, and that class would be of any shapes"
                advice = "give it the same shape in both projects; nothing was changed"
                raise UsageError(f"{one.path}: {text}; {advice}")
