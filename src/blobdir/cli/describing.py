"""``blobdir info``."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from blobdir.cli.options import ADDRESS_HELP, CommonOptions, project_options
from blobdir.cli.output import human_bytes, write_json, write_lines
from blobdir.cli.target import Opener
from blobdir.datasets import read_meta
from blobdir.discovery.layout import ANNOTATIONS, ITEMS, META, dataset_name, join
from blobdir.errors import NotFoundError
from blobdir.index import DIRECTORY, FIRST_BLOB, LINK, LOOSE, Defect
from blobdir.ranges import total_of
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blobdir.filesystem import BlobDirFileSystem

SHOWN = 20  # defects; one cause, such as the folder above many projects, may make thousands


@click.command("info", epilog=ADDRESS_HELP)
@click.argument("urls", metavar="URL...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@project_options
def info_command(urls: tuple[str, ...], as_json: bool, common: CommonOptions) -> None:
    """Say what a project holds, or where the bytes of a file lie.

    \b
    blobdir info /data/lemons
    blobdir info /data/lemons/train/img/a.jpg
    """
    opener = Opener(common)
    for target in map(opener.open, urls):
        for path in target.expand():
            found = describe_project(target.filesystem) if not path else describe_path(target.filesystem, path)
            if as_json:
                write_json(found, indent=None)
            else:
                write_lines(_project_lines(found) if not path else _path_lines(found))


def describe_project(fs: BlobDirFileSystem) -> dict[str, Any]:
    """What a project holds, as plain values."""
    index = fs.view.index
    return {
        "project": fs.view.url,
        **({} if fs.view.lies_there else {"layout": "samples" if index.header.datasets else "files"}),
        "datasets": [_describe_dataset(fs, path) for path in index.header.datasets],
        "blobs": [
            {"path": blob.path, "size": blob.size if blob.size >= 0 else None, "usable": blob.defect < 0}
            for blob in index.header.blobs
        ],
        "index": {"rows": len(index), "bytes": index.nbytes},
        "defects": [
            {"severity": d.severity, "code": d.code, "path": d.path, "message": d.message}
            for d in [*fs.view.defects, *_of_meta(fs)]
        ],
    }


def _of_meta(fs: BlobDirFileSystem) -> list[Defect]:
    _, fault = read_meta(fs.view)
    return [Defect("error", "meta", META, f"{META}: {fault}: classes and tags aren't known")] if fault else []


def _describe_dataset(fs: BlobDirFileSystem, path: str) -> dict[str, Any]:
    images, in_blobs, size = _count(fs, join(path, ITEMS))
    annotations, _, _ = _count(fs, join(path, ANNOTATIONS))
    return {
        "name": dataset_name(path),
        "path": path,
        "images": images,
        "images_in_blobs": in_blobs,
        "image_bytes_in_blobs": size,
        "annotations": annotations,
    }


def _count(fs: BlobDirFileSystem, path: str) -> tuple[int, int, int]:
    """Files below a directory, how many of them are in blobs, and the bytes of those."""
    try:
        root = fs.view.find(path)
    except (NotFoundError, NotADirectoryError):
        return 0, 0, 0
    index, files, members, size = fs.view.index, 0, 0, 0
    for row in index.walk(root):
        rows = index.children(row)
        sources = index.source[rows.start : rows.stop]
        files += int((sources != DIRECTORY).sum())
        members += int((sources >= FIRST_BLOB).sum())
        size += total_of(index.size[rows.start : rows.stop][sources >= FIRST_BLOB])
    return files, members, size


def describe_path(fs: BlobDirFileSystem, path: str) -> dict[str, Any]:
    """Attributes of a file or directory, and where its bytes lie."""
    found = fs.info(path)
    row = fs.view.find(path, follow=False)
    source = int(fs.view.index.source[row])
    if source >= FIRST_BLOB:
        start = int(fs.view.index.offset[row])
        blob = fs.view.index.header.blobs[source - FIRST_BLOB].path
        found |= {"blob": blob, "offset_start": start, "offset_end": start + found["size"]}
    elif source == DIRECTORY:
        files, members, size = _count(fs, path)
        found |= {"files": files, "files_in_blobs": members, "bytes_in_blobs": size}
    elif source in (LOOSE, LINK):
        found["file"] = path
    return found


def _project_lines(found: dict[str, Any]) -> Iterator[str]:
    yield f"project   {found['project']}"
    total = sum(blob["size"] or 0 for blob in found["blobs"])
    yield f"blobs     {len(found['blobs']):,} ({human_bytes(total)})"
    rows, size = found["index"]["rows"], found["index"]["bytes"]
    yield f"index     {counted(rows, 'row')}, {human_bytes(size)}, {size / rows:.0f} bytes a row"
    if "layout" in found:
        yield f"layout    {found['layout']}"
    yield f"datasets  {len(found['datasets']):,}"
    if found["datasets"]:
        width = max(7, *(len(dataset["name"]) for dataset in found["datasets"]))
        yield ""
        yield f"  {'dataset':<{width}} {'images':>12} {'in blobs':>12} {'bytes':>8} {'annotations':>12}"
        for dataset in found["datasets"]:
            yield (
                f"  {dataset['name']:<{width}} {dataset['images']:>12,} {dataset['images_in_blobs']:>12,} "
                f"{human_bytes(dataset['image_bytes_in_blobs']):>8} {dataset['annotations']:>12,}"
            )
    if found["defects"]:
        yield ""
        yield f"defects   {len(found['defects']):,}"
        for defect in found["defects"][:SHOWN]:
            yield f"  {defect['severity']:<7} {defect['code']}: {defect['message']}"
        if len(found["defects"]) > SHOWN:
            codes = Counter(defect["code"] for defect in found["defects"])
            counts = ", ".join(f"{code} {count:,}" for code, count in codes.most_common())
            yield f"  … in all: {counts}; --json has each"


def _path_lines(found: dict[str, Any]) -> Iterator[str]:
    for key, value in found.items():
        yield f"{key:<14} {oct(value) if key == 'mode' else f'{value:,}' if isinstance(value, int) else value}"
