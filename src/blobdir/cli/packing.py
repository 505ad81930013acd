"""``blobdir pack`` and ``unpack``: from a folder to a blob project, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from blobdir.cli.options import on_this_machine, project_options, remote_options
from blobdir.cli.output import (
    INCOMPLETE,
    SHOWN,
    Bars,
    complain,
    human_bytes,
    name_by_code,
    name_problems,
    others_left,
    write_json,
    write_lines,
)
from blobdir.errors import UsageError
from blobdir.filenames import is_path
from blobdir.wording import counted

if TYPE_CHECKING:
    from blobdir.cli.options import CommonOptions
    from blobdir.packing import PackReport

# How a subset has its blobs.
_SHARED = {"link": "shared", "symlink": "behind links", "copy": "copied"}
LABELS = click.Choice(["auto", "coco", "yolo", "voc", "cvat", "labelme", "createml", "csv", "folders"])
CONFLICTS = click.Choice(["error", "skip", "rename", "replace"])


@click.command("pack")
@click.argument("source", callback=on_this_machine)
@click.argument("dest")
@click.option("--shard-size", default="1GiB", show_default=True, metavar="SIZE", help="Most bytes of a blob.")
@click.option("--shard-images", type=click.IntRange(0), default=0, metavar="N", help="Most images of a blob.")
@click.option(
    "--annotations",
    type=click.Choice(["loose", "packed"]),
    default="loose",
    show_default=True,
    help="As files, which the SDK needs; or in tars, which only blobdir reads.",
)
@click.option(
    "--layout",
    type=click.Choice(["files", "webdataset"]),
    default="files",
    show_default=True,
    help="webdataset: in the tars, a copy of its annotation follows each image: they are shards for WebDataset, too.",
)
@click.option(
    "--shard-index",
    default="",
    metavar="KINDS",
    help="With --layout webdataset: indexes beside the tars, for those who read shards at random: wids, dali or both, "
    "wids,dali. Later changes renew them.",
)
@click.option(
    "--on-conflict",
    type=CONFLICTS,
    default="rename",
    show_default=True,
    help="Images of one name in one dataset: leave out all but the first (error, skip) or the last, or put their "
    "folders' names in front.",
)
@click.option(
    "--dataset",
    default="",
    metavar="NAME",
    help="One dataset for all; the folders are tags. Of a list: for those without one.",
)
@click.option(
    "--labels",
    type=LABELS,
    default=None,
    help="Labels beside the images that become annotations; auto says which are found. folders: the images' folders "
    "are their tags.",
)
@click.option("--labels-from", default="", metavar="PATH", help="A file or folder elsewhere that has the labels.")
@click.option("--processes", type=click.IntRange(0), default=0, metavar="N", help="0: one per processor.")
@click.option("--follow-links", is_flag=True, help="Follow symbolic links out of SOURCE.")
@click.option("--resume", is_flag=True, help="Go on with what was cut off.")
@click.option("--checksum", is_flag=True, help="With --resume: read again what was written.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--strict", is_flag=True, help="Stop at the first problem.")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
@remote_options
def pack_command(
    source: str,
    dest: str,
    shard_size: str,
    shard_images: int,
    annotations: str,
    layout: str,
    shard_index: str,
    on_conflict: str,
    dataset: str,
    labels: str | None,
    labels_from: str,
    processes: int,
    follow_links: bool,
    resume: bool,
    checksum: bool,
    dry_run: bool,
    strict: bool,
    as_json: bool,
    common: CommonOptions,
) -> int:
    """Pack SOURCE, a regular project, a folder or list of images or an LMDB store, into the blob project DEST.

    Bytes are stored as they are, and the same input gives the same bytes. DEST appears when it's whole; it may be a
    URL: then each blob is uploaded when it's whole, and only a few at a time are on this machine. Of a plain
    folder, the folders at the top become datasets and those below them tags: red/angry/a.jpg is in dataset red, with
    the tag angry; images that share a name have their folders' in front of it. Hidden files and folders aren't looked
    at. A list is a file, or - for standard input: a path per line; CSV with a header that has path, and dataset,
    name, tags, annotation where wanted; or JSON lines with the same keys. Of lmdb:PATH, or lmdb:PATH?db=NAME, the keys
    are paths as in a plain folder, with an extension by content where they have none. With
    --labels, the labels that lie beside the images (COCO, YOLO, Pascal VOC, CVAT, LabelMe, CreateML, boxes in a CSV)
    become annotations, and their splits datasets. What can't be packed is named at the end;
    exit status 7 says that something is missing.

    \b
    blobdir pack /data/lemons-plain /data/lemons
    blobdir pack photos s3://bucket/photos
    blobdir pack photos packed --dataset photos --shard-size 500M
    find photos -name '*.jpg' -newer last | blobdir pack - packed --dataset new
    blobdir pack coco2017 packed --labels auto
    blobdir pack lmdb:photos.lmdb packed
    (cd /data/lemons/blob && sha256sum -c SHA256SUMS)
    """
    from blobdir.packing import PackOptions, pack
    from blobdir.packing.report import parse_size

    options = PackOptions(
        shard_bytes=parse_size(shard_size),
        shard_images=shard_images,
        annotations=annotations,  # type: ignore[arg-type]  # click has checked it
        layout=layout,  # type: ignore[arg-type]
        shard_index=tuple(filter(None, shard_index.split(","))),  # type: ignore[arg-type]
        on_conflict=on_conflict,  # type: ignore[arg-type]
        processes=processes,
        strict=strict,
        dataset=dataset,
        follow_links=follow_links,
        checksum=checksum,
        labels=labels or ("auto" if labels_from else ""),  # type: ignore[arg-type]
        labels_from=labels_from,
    )
    failed: dict[str, str] = {}
    with Bars(common.quiet or as_json, unit="B", scale=True) as bars:
        if not is_path(dest):
            from blobdir.moving import pack_to
            from blobdir.sources import RemoteOptions

            report, pushed = pack_to(
                source,
                dest,
                options,
                storage_options=common.storage,
                resume=resume,
                dry_run=dry_run,
                remote=RemoteOptions(**common.remote),
                progress=bars,
            )
            failed = pushed.failed
        else:
            report = pack(source, dest, options, resume=resume, dry_run=dry_run, progress=bars)
    if as_json:
        write_json(report.to_json())
    else:
        _say(report, dest, dry_run=dry_run, quiet=common.quiet)
    for path, error in list(failed.items())[:SHOWN]:
        complain(path, error)
    if failed:
        complain(f"{counted(len(failed), 'file')} could not be uploaded; --resume tries them again")
    return 0 if report.complete and not failed else INCOMPLETE


def _say(report: PackReport, dest: str, *, dry_run: bool, quiet: bool) -> None:
    """Name what was found, and sum up; nothing but what isn't in the project when it's to be quiet."""
    name_by_code([p for p in report.problems if p.costs or not quiet], " (--json lists all)")
    if quiet:
        return
    verb = "would be packed" if dry_run else "packed"
    images = f"{counted(report.found, 'image')} found, {report.images:,} {verb}"
    blobs, files = counted(len(report.blobs), "blob"), counted(report.files, "file")
    blobs = f"{human_bytes(report.image_bytes)} into {blobs}, {files} beside them"
    rate = f" in {report.seconds:.1f} s" if not dry_run else ""
    resumed = f"; {counted(report.resumed, 'blob')} kept from before" if report.resumed else ""
    lines = [f"{dest}: {images}, {blobs}{rate}{resumed}"]
    if report.labels:
        from blobdir.labels import FORMATS

        lines.append(f"{dest}: labels: {FORMATS[report.labels].title}, {counted(report.objects, 'object')}")
    write_lines(lines)


@click.command("unpack")
@click.argument("project")
@click.argument("dest")
@click.option("-f", "--force", is_flag=True, help="Replace files that are there.")
@project_options
def unpack_command(project: str, dest: str, force: bool, common: CommonOptions) -> int:
    """Write all images and annotations of PROJECT as files to DEST, a folder or any fsspec URL.

    The inverse of pack: the same bytes in the same places. Each file appears whole, and all are on the disk at the end.
    A link inside the project is written as what it leads to, but for one to a folder that would make datasets or images
    that the project doesn't show. Those, files that can't be read, links that lead out of the project or in circles are
    named, and the others are written; exit status 7 says that some are missing. DEST must not be in a project.

    \b
    blobdir unpack /data/lemons /data/lemons-plain
    """
    import os

    from blobdir.cli.copying import Destination, copy_all

    store = Destination(dest, common)
    store.check_apart()
    if store.is_local and os.path.isdir(store.root) and os.listdir(store.root) and not force:
        raise UsageError(f"{dest}: isn't empty; choose another folder, or --force")
    store.is_folder = False  # what is in the project goes into it, not a folder with the project's name
    return copy_all([project], store, common, recursive=True, force=force, preserve=True, whole_datasets=True)


@click.command("subset")
@click.argument("project")
@click.argument("dest")
@click.option(
    "--list", "list_file", metavar="FILE", help="Names of images, a line each: train/a.jpg. - is standard input."
)
@click.option("--glob", "patterns", multiple=True, metavar="PATTERN", help="Images such as 'train/0*.jpg'; repeatable.")
@click.option("--dataset", "datasets", multiple=True, metavar="NAME", help="Only of this dataset; repeatable.")
@click.option("--class", "classes", multiple=True, metavar="NAME", help="With an object of this class; repeatable.")
@click.option("--tag", "tags", multiple=True, metavar="NAME", help="With this tag; repeatable.")
@click.option("--per-class", type=click.IntRange(0), default=0, metavar="N", help="So many of each class, or all.")
@click.option("--seed", type=int, default=0, show_default=True, help="Which ones of those.")
@click.option(
    "--blobs",
    type=click.Choice(["link", "symlink", "copy"]),
    default="link",
    show_default=True,
    help="How the blobs are shared: hard links, symbolic links, or not. Symbolic links lead out of DEST, so who reads "
    "or verifies it must give --follow-links.",
)
@click.option("--follow-links", is_flag=True, help="Take what symbolic links lead to outside of PROJECT as well.")
@click.option("--strict", is_flag=True, help="Stop at the first annotation that can't be used.")
@click.option("-q", "--quiet", is_flag=True, help="No report.")
def subset_command(
    project: str,
    dest: str,
    list_file: str | None,
    patterns: tuple[str, ...],
    datasets: tuple[str, ...],
    classes: tuple[str, ...],
    tags: tuple[str, ...],
    per_class: int,
    seed: int,
    blobs: str,
    follow_links: bool,
    strict: bool,
    quiet: bool,
) -> int:
    """Make DEST, a project with some images of PROJECT, and the same blobs.

    Offsets and annotations are written, blobs are linked: many subsets of one blob take no more room than one. What
    belongs to the images, in meta/, img_info/, seg/ and masks_*/, goes along. Conditions hold together; of one that is
    repeated, any. In a list, train/img/a.jpg is exactly that image or none, train/a.jpg one of a dataset, a.jpg those
    of all; a name that can be two images is an error. Patterns are for train/a.jpg. Where PROJECT is damaged nothing is
    made. Where an annotation can't be used, nobody knows whether its image has the class or tag that is asked for: it
    isn't taken but named, and the exit status is 7.

    \b
    blobdir subset /data/lemons ripe --class lemon --tag ripe
    blobdir subset /data/lemons few --per-class 100 --seed 7
    blobdir subset /data/lemons mine --list names.txt
    """
    from blobdir.packing import SubsetOptions, subset
    from blobdir.packing.lists import read_names

    options = SubsetOptions(
        names=None if list_file is None else read_names(list_file),
        patterns=patterns,
        datasets=datasets,
        classes=classes,
        tags=tags,
        per_class=per_class,
        seed=seed,
        blobs=blobs,  # type: ignore[arg-type]  # click has checked it
        follow_links=follow_links,
        strict=strict,
    )
    report = subset(project, dest, options)
    if not quiet:
        parts = ", ".join(f"{count:,} of {name}" for name, count in report.datasets.items())
        images, shown = counted(sum(report.datasets.values()), "image"), counted(len(report.blobs), "blob")
        line = f"{dest}: {images} ({parts}), {shown} {_SHARED[blobs]}"
        if report.without_annotation:
            line += f"; {counted(report.without_annotation, 'image')} without an annotation, so without class or tag"
        if report.others:
            line += f"; {others_left(report.others)}"
        write_lines([line])
    return name_problems(report.problems, "their images aren't in the subset")
