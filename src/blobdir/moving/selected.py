"""Some images of a remote project, as a project of their own: only their bytes are fetched."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from blobdir.discovery import layout
from blobdir.errors import NotFoundError, UsageError
from blobdir.offsets import write_offsets
from blobdir.packing.choosing import choose
from blobdir.packing.tarformat import archive_end, member_header, padding
from blobdir.project import open_project

if TYPE_CHECKING:
    from pathlib import Path

    from blobdir.discovery import Progress
    from blobdir.moving.fetching import FetchReport
    from blobdir.packing import SubsetOptions
    from blobdir.project import Dataset, Project
    from blobdir.sources import RemoteOptions

IMAGES_AT_ONCE = 1000


def fetch_selected(
    url: str,
    work: Path,
    storage_options: dict[str, Any] | None,
    options: SubsetOptions,
    remote: RemoteOptions | None,
    progress: Progress | None,
) -> FetchReport:
    """Write the chosen images and their annotations into `work`, in one new blob a dataset.

    Blocks that an earlier try has fetched come from the cache.
    """
    from blobdir.moving.fetching import FetchReport  # noqa: PLC0415  # it imports this module

    given = {} if remote is None else asdict(remote)
    project = open_project(url, storage_options=storage_options, **given)
    choice = choose(project, options)
    chosen = {path: names for path, names in choice.images.items() if names}
    if not chosen:
        raise UsageError(f"no image is chosen: the conditions hold for none{choice.said()}")
    for left in work.iterdir():  # the folder itself is locked
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()
    (work / layout.BLOB_DIR).mkdir(parents=True)
    report = FetchReport(problems=choice.problems, without_annotation=choice.without_annotation)
    total = sum(map(len, chosen.values()))
    for path, names in chosen.items():
        _write_dataset(project, path, names, work, report, total, progress)
    for name in (layout.META, "README.md"):
        if project.filesystem.exists(name):
            (work / name).write_bytes(project.filesystem.cat_file(name))
    return report


def _write_dataset(
    project: Project,
    path: str,
    names: list[str],
    work: Path,
    report: FetchReport,
    total: int,
    progress: Progress | None,
) -> None:
    dataset = project[path]
    stem = f"{path.replace('/datasets/', '-').replace('/', '-')}-fetched"
    folder = work / path
    (folder / layout.ANNOTATIONS).mkdir(parents=True)
    entries, position = [], 0
    with open(work / layout.BLOB_DIR / f"{stem}.tar", "wb") as tar:
        for low in range(0, len(names), IMAGES_AT_ONCE):
            part = names[low : low + IMAGES_AT_ONCE]
            for name, data in zip(part, dataset.read_many(part), strict=True):
                header = member_header(os.fsencode(name), len(data))
                start = position + len(header)
                entries.append((name, start, start + len(data)))
                for piece in (header, data, padding(len(data))):
                    tar.write(piece)
                    position += len(piece)
                report.size += len(data)
            _write_annotations(project, dataset, part, folder, report)
            report.files += len(part)
            if progress is not None:
                progress("images", report.files, total)
        tar.write(archive_end(position))
    write_offsets(folder / f"{stem}{layout.OFFSETS_SUFFIX}", entries)


def _write_annotations(project: Project, dataset: Dataset, names: list[str], folder: Path, report: FetchReport) -> None:
    paths = []
    for name in names:
        try:
            paths.append(dataset.annotation_path(name))
        except NotFoundError:
            continue
    for path, data in project.filesystem.cat(paths).items() if paths else ():
        target = folder / layout.ANNOTATIONS / path.rpartition(f"{layout.ANNOTATIONS}/")[2]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        report.size += len(data)
