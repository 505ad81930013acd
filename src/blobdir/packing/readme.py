"""A project's README.md: what is in it, where, and how it's read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import quote

from blobdir.datasets import open_view
from blobdir.discovery import layout
from blobdir.durable import absolute
from blobdir.errors import BlobdirError, UsageError
from blobdir.packing.publishing import Change
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from blobdir.datasets import DatasetView, ProjectView

README = "README.md"
SHOWN = 50
"""Classes, tags and blobs that are listed one by one."""
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def create_blob_readme(
    project: str | os.PathLike[str], *, title: str = "", description: str = "", replace: bool = False
) -> Path:
    """Write the ``README.md`` of a blob project: datasets, classes, tags, blobs, and how to read it.

    Depends on nothing but the project, so it doesn't change where that doesn't.

    Parameters
    ----------
    project : path
    title : str
        By default, the folder's name.
    description : str
        Markdown that comes first.
    replace : bool
        Replace one that is there; else that is an error.

    Returns
    -------
    Path

    Raises
    ------
    UsageError
        There is one.
    BusyError
    """
    root = absolute(project)
    with Change(root) as change:
        if os.path.exists(os.path.join(root, README)) and not replace:
            raise UsageError(f"{os.path.join(root, README)}: is there already; replace=True replaces it")
        text = readme(open_view(root), title or os.path.basename(root), description)
        staged = change.stage(README)
        staged.write_bytes(text.encode("utf-8", "backslashreplace"))
        change.commit()
    return type(staged)(root, README)


def readme(project: ProjectView[DatasetView], title: str, description: str = "") -> str:
    """The text of a project's README."""
    lines = [f"# {_cell(title)}", ""]
    if description:
        lines += [description.strip(), ""]
    return "\n".join([*lines, *_datasets(project), *_meta(project), *_blobs(project), *_reading(project)])


def _datasets(project: ProjectView[DatasetView]) -> Iterator[str]:
    tree, rows, images, size = project.tree, [], 0, 0
    for name, dataset in project.items():
        found = tree.find_many([f"{dataset.path}/{layout.ITEMS}/{image}" for image in dataset.names])
        own = sum(tree.size(row) for row in found.tolist())
        rows.append(f"| [{_cell(name)}]({quote(os.fsencode(dataset.path))}) | {len(found):,} | {_size(own)} |")
        images, size = images + len(found), size + own
    yield f"{counted(images, 'image')}, {_size(size)}, in {counted(len(rows), 'dataset')}."
    yield from ("", "## Datasets", "", "| dataset | images | size |", "|---|---|---|", *rows, "")


def _meta(project: ProjectView[DatasetView]) -> Iterator[str]:
    try:
        meta = project.meta
    except BlobdirError:
        return
    classes, tags = _items(meta, "classes"), _items(meta, "tags")
    if classes:
        yield from ("## Classes", "", "| class | shape | colour |", "|---|---|---|")
        for item in classes[:SHOWN]:
            yield f"| {_cell(item.get('title'))} | {_cell(item.get('shape'))} | {_cell(item.get('color'))} |"
        yield from _more(classes)
    if tags:
        yield from ("## Tags", "", "| tag | value |", "|---|---|")
        for item in tags[:SHOWN]:
            yield f"| {_cell(item.get('name'))} | {_cell(item.get('value_type'))} |"
        yield from _more(tags)


def _items(meta: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = meta.get(key)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _more(items: list[Any]) -> Iterator[str]:
    if len(items) > SHOWN:
        yield from ("", f"And {len(items) - SHOWN:,} more: see `{layout.META}`.")
    yield ""


def _blobs(project: ProjectView[DatasetView]) -> Iterator[str]:
    blobs = [b for b in project.tree.index.header.blobs if b.path.startswith(f"{layout.BLOB_DIR}/")]
    yield from (
        "## Blobs",
        "",
        "Images lie in tars, one after the other and as they are; which dataset has which bytes of",
    )
    yield from ("which tar is in its `<tar>_offsets.pkl`.", "", "| blob | size |", "|---|---|")
    for blob in sorted(blobs, key=lambda blob: blob.path)[:SHOWN]:
        yield f"| `{_cell(blob.path)}` | {_size(blob.size)} |"
    yield from _more(blobs)


def _reading(project: ProjectView[DatasetView]) -> Iterator[str]:
    dataset = next(iter(project), "train")
    yield "## Reading it"
    yield ""
    yield "With the Supervisely SDK (`pip install supervisely`):"
    yield ""
    yield "```python"
    yield "import supervisely as sly"
    yield ""
    yield 'project = sly.Project(".", sly.OpenMode.READ)'
    yield f"dataset = project.datasets.get({dataset!r})"
    yield "pixels = dataset.get_blob_img_np(dataset.get_items_names()[0])"
    yield "```"
    yield ""
    yield "With blobdir (`pip install blobdir`), as ordinary files or in Python:"
    yield ""
    yield "```shell"
    yield "blobdir mount . /mnt/images"
    yield "```"
    yield ""
    yield "```python"
    yield "import blobdir"
    yield ""
    yield f'dataset = blobdir.open_project(".")[{dataset!r}]'
    yield "pixels = dataset.get_blob_img_np(dataset.names[0])"
    yield "```"
    yield ""


def _cell(value: object) -> str:
    """What can stand in a cell of a table."""
    return " ".join(str(value if value is not None else "").split()).replace("|", "\\|")


def _size(count: float) -> str:
    unit = 0
    while count >= 1024 and unit < len(_UNITS) - 1:
        count, unit = count / 1024, unit + 1
    return f"{count:.0f} {_UNITS[unit]}" if not unit else f"{count:.1f} {_UNITS[unit]}"
