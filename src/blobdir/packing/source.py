"""Sources of packing: a regular project, a plain folder of images, a list, or an LMDB store."""

from __future__ import annotations

import os
from array import array
from posixpath import basename, dirname, normpath, splitext
from typing import TYPE_CHECKING

from blobdir.discovery import layout
from blobdir.discovery.root import project_around
from blobdir.errors import NotAProjectError, UsageError
from blobdir.filenames import IMAGE_EXTENSIONS, IMAGE_NAMES, is_image_name, is_junk
from blobdir.packing.classfolders import dataset_folder, place_of, tags_of
from blobdir.packing.columns import TextColumn
from blobdir.packing.labelled import list_labelled, place_of_the_rest
from blobdir.packing.listing import Content, DatasetItems, Listing, with_parents
from blobdir.packing.lists import STDIN, RowError, is_list, read_list, shown_list
from blobdir.packing.lmdbs import list_apart
from blobdir.packing.naming import MAX_NAME_BYTES, too_long
from blobdir.packing.otherlabels import Unpacked, labels_hint, recognised
from blobdir.packing.report import Problem
from blobdir.packing.sdknames import dropped_by_the_sdk
from blobdir.packing.unmatched import unmatched, why_unused
from blobdir.sources import Entry, Folder, Stat
from blobdir.tarwriting.lmdbs import is_address
from blobdir.tarwriting.reading import stamp_of
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from blobdir.packing.lists import Row
    from blobdir.packing.report import PackOptions

__all__ = ["MAX_NAME_BYTES", "list_source"]


def list_source(root: str, options: PackOptions) -> Listing:
    """Look at a source.

    Raises
    ------
    NotAProjectError
        There is no such folder or file, or no image in it; or it's a part of a project.
    UsageError
        It's a blob project already; or a folder, or what `options` say, can't be a dataset.
    """
    if options.dataset:
        place_of(options.dataset)
    if is_address(root):
        listing = list_apart(root, options)
        what = "holds no image that can be packed"
    elif options.labels not in ("", "folders"):
        listing = list_labelled(_plain_root(root), options)
        what = "holds no image that its labels name"
    elif is_list(root):
        if root != STDIN and (kind := recognised(root)):
            raise UsageError(f"{root}: {labels_hint(kind)}, and give the folder of the images as SOURCE")
        listing = _list_rows(root, options)
        what = "names no image that is there"
    else:
        listing = _list_folder(root, options)
        what = f"holds no image ({IMAGE_NAMES}) in a dataset's img/, or anywhere below it"
    if not any(len(dataset.names) for dataset in listing.datasets) and not listing.images_in_folders:
        first = f"; the first problem: {p.path}: {p.message}" if (p := next(iter(listing.problems), None)) else ""
        raise NotAProjectError(f"{root if is_list(root) else listing.root}: {what}{first}")
    _check_datasets(listing)
    if not listing.is_project:  # a project's names lie in one folder each
        for dataset in listing.datasets:
            shown = layout.dataset_name(dataset.path)
            renamed = dataset.settle(listing.problems, options)
            listing.renamed |= {f"{shown}/{name}": source for name, source in renamed.items()}
        listing.found -= sum(problem.code == "repeated" for problem in listing.problems)
    _name_what_the_sdk_drops(listing)
    listing.finish()
    return listing


def _check_datasets(listing: Listing) -> None:
    for dataset in listing.datasets:
        if layout.dataset_place(dataset.path) is None:
            raise UsageError(
                f"{dataset.path!r} can't be the name of a dataset: nobody would see what is in it; rename the folder, "
                "or choose a name with --dataset"
            )


def _plain_root(root: str) -> str:
    """A folder of images with labels beside them, links resolved."""
    root = os.path.realpath(root)
    if not os.path.isdir(root):
        if os.path.exists(root):
            raise UsageError(f"{root}: is no folder; give that of the images, and --labels-from {root}")
        raise NotAProjectError(f"{root}: there is no such folder")
    if os.path.isfile(os.path.join(root, layout.META)):
        raise UsageError(f"{root}: is a project, whose annotations are its own; leave --labels out")
    _check_apart(root)
    return root


def _list_folder(root: str, options: PackOptions) -> Listing:
    root = os.path.realpath(root)
    if not os.path.isdir(root):
        raise NotAProjectError(f"{root}: there is no such folder")
    is_project = os.path.isfile(os.path.join(root, layout.META))
    if is_project and os.path.isdir(os.path.join(root, layout.BLOB_DIR)):
        raise UsageError(f"{root}: is a blob project already; unpack it first, or add to it")
    if not is_project:
        _check_apart(root)
    listing = Listing(root, options.follow_links, is_project=is_project)
    if is_project:
        _list_project(listing, options)
    else:
        _list_plain(listing, options)
    listing.found += sum(len(dataset.names) for dataset in listing.datasets)
    return listing


def _check_apart(root: str) -> None:
    """Refuse a folder of a project: of a dataset, ``img`` would become a dataset, and its annotations images."""
    try:
        names = set(os.listdir(root))
    except OSError:
        return
    items = names & {layout.ITEMS, layout.ANNOTATIONS, layout.PACKED_ANNOTATIONS}
    project = project_around(root, holds_items=bool(items) or any(map(layout.is_offsets, names)))
    if project:
        raise NotAProjectError(
            f"{root}: is a part of the project {project}; give that one, or the images of this as a list: "
            f"find {root} -type f | blobdir pack - DEST"
        )


def _name_what_the_sdk_drops(listing: Listing) -> None:
    for items in listing.datasets:
        listing.problems += dropped_by_the_sdk(items.path)


def _is_image_name(name: str) -> bool:
    return is_image_name(name) and not is_junk(name)


def _is_image(name: str) -> bool:
    """Whether a file of a project's ``img/`` is an image: hidden ones are files like others."""
    return _is_image_name(name) and not name.startswith(".")


def _all_images(names: TextColumn) -> bool:
    """`_is_image` of all, where that can be said at once."""
    joined = names.joined().lower()
    hidden = joined.startswith(b".") or b"\0." in joined
    return not hidden and sum(joined.count(f"{kind}\0".encode()) for kind in IMAGE_EXTENSIONS) == len(names)


def _refuse_offsets(root: str, folder: str, names: TextColumn) -> None:
    """Refuse a project that has offsets, and no blobs: in the result they would lead into blobs that aren't theirs."""
    if layout.OFFSETS_SUFFIX.encode() + b"\0" not in names.joined():
        return
    path = layout.join(folder, next(name for name in names if layout.is_offsets(name)))
    raise UsageError(
        f"{root}: holds {path}, so it is half a blob project; put its blobs back and unpack it, or move that file away"
    )


def _list_project(listing: Listing, options: PackOptions) -> None:
    contents = dict(_walk(listing, packed=options.annotations == "packed"))
    datasets = set(layout.read_layout({path: _as_folder(path, content) for path, content in contents.items()}).datasets)
    for folder, content in contents.items():
        if folder in datasets or (basename(folder) == layout.PACKED_ANNOTATIONS and dirname(folder) in datasets):
            _refuse_offsets(listing.root, folder, content.names)
    annotations: dict[str, TextColumn] = {}
    for folder in list(contents):
        content = contents.pop(folder)  # what is left takes no memory twice
        kind, dataset = basename(folder), dirname(folder)
        if dataset in datasets and kind == layout.ITEMS:
            _take_images(listing, folder, content)
            continue
        if dataset in datasets and kind == layout.ANNOTATIONS:
            annotations[dataset] = content.names
            if options.annotations == "packed" and len(content.names):
                items = DatasetItems(dataset, os.path.join(listing.root, folder), content.names, content.names)
                items.sizes, items.stamps = content.sizes, content.stamps
                listing.annotations.append(items)
                continue
        listing.folders.append(folder)
        if len(content.names):
            listing.files.append((folder, content.names))
            _note_images(listing, folder, content.names, datasets)
    _leave_out_what_is_in_the_way(listing, options)
    for items in listing.datasets:
        _missing_annotations(items, annotations.get(items.path, TextColumn()), listing)
    images = {layout.join(dataset, layout.ITEMS) for dataset in datasets}
    listing.found += _lost_images(listing, lambda path: dirname(path) in images)


def _note_images(listing: Listing, folder: str, names: TextColumn, datasets: Collection[str]) -> None:
    """Say that images in folders of ``img/`` stay files: the SDK knows no names with folders."""
    above = folder
    while above and not (basename(above) == layout.ITEMS and dirname(above) in datasets):
        above = dirname(above)
    count = sum(map(_is_image, names)) if above else 0
    if count:
        listing.images_in_folders += count
        text = f"{counted(count, 'image')} in a folder of {layout.ITEMS}/ were copied as plain files"
        listing.problems.append(Problem("in-folder", folder, text))


def _leave_out_what_is_in_the_way(listing: Listing, options: PackOptions) -> None:
    """Leave out files that have the name of a folder which is to be made."""
    shown = (layout.join(items.path, layout.ANNOTATIONS) for items in listing.datasets)  # packed ones, too
    made = [layout.STATE_DIR, *shown, *listing.made_folders(options)]
    folders = {above for folder in made for above in with_parents(folder)}
    for i, (folder, names) in enumerate(listing.files):
        bad = [number for number, name in enumerate(names) if layout.join(folder, name) in folders]
        for number in bad:
            text = "has the name of a folder that the project needs; it was left out"
            listing.problems.append(Problem("name", layout.join(folder, names[number]), text))
        if bad:
            listing.files[i] = folder, names.take([n for n in range(len(names)) if n not in set(bad)])


def _lost_images(listing: Listing, counts: Callable[[str], bool]) -> int:
    """Images that were found, and can't be packed."""
    lost = [p.path for p in listing.problems if p.costs and p.code != "name"]
    return sum(_is_image_name(basename(path)) and counts(path) for path in lost)


def _walk(listing: Listing, *, packed: bool) -> Iterator[tuple[str, Content]]:
    todo = [""]
    wanted = (layout.ITEMS, layout.ANNOTATIONS) if packed else (layout.ITEMS,)
    while todo:
        folder = todo.pop()
        content = listing.scan(folder, stamps=basename(folder) in wanted)
        todo += [layout.join(folder, name) for name in reversed(content.folders)]
        yield folder, content


def _as_folder(path: str, content: Content) -> Folder:
    """What tells datasets from other folders: its folders, and offsets files."""
    entries = [Entry(name, "directory") for name in content.folders]
    if basename(path) not in (layout.ITEMS, layout.ANNOTATIONS):
        entries += [Entry(name, "file") for name in content.names if layout.is_offsets(name)]
    return Folder(path, Stat("directory"), entries)


def _take_images(listing: Listing, folder: str, content: Content) -> None:
    """Images of a project's dataset; other files beside them are copied."""
    items = DatasetItems(dirname(folder), os.path.join(listing.root, folder), content.names, content.names)
    items.sizes, items.stamps = content.sizes, content.stamps
    others = [] if _all_images(content.names) else [i for i, name in enumerate(content.names) if not _is_image(name)]
    if others:
        names = content.names.take(others)
        unpacked = Unpacked(os.path.join(listing.root, folder))
        for name in names:
            text = f"{unpacked.why(name)}; it was copied as a plain file"
            listing.problems.append(Problem("not-an-image-name", layout.join(folder, name), text))
        listing.files.append((folder, names))
        left = set(others)
        kept = [i for i in range(len(content.names)) if i not in left]
        items.sources = items.names = content.names.take(kept)
        items.sizes = array("q", [content.sizes[i] for i in kept])
        items.stamps = array("q", [content.stamps[i] for i in kept])
    if others or not len(items.names):  # the SDK wants the folder of a dataset that has no images of its own
        listing.folders.append(folder)
    listing.datasets.append(items)


def _missing_annotations(items: DatasetItems, annotations: TextColumn, listing: Listing) -> None:
    """Name images without annotations, for which the SDK drops a whole dataset, and annotations that no image uses."""
    if annotations.joined() == items.names.joined().replace(b"\0", b".json\0"):
        return
    folder = layout.join(items.path, layout.ANNOTATIONS)
    if any(problem.code == "unreadable" and problem.path == folder for problem in listing.problems):
        return  # nobody knows which there are
    if not len(annotations):
        text = f"none of its {counted(len(items.names), 'image')} has an annotation; the SDK drops the dataset"
        listing.problems.append(Problem("no-annotation", items.path, text))
        return
    without, unused = unmatched(items.names, annotations)
    for i in without:
        path = f"{items.path}/{layout.ITEMS}/{items.names[i]}"
        listing.problems.append(Problem("no-annotation", path, "has none; the SDK drops its whole dataset"))
    left = [annotations[i] for i in unused if annotations[i].endswith(".json")]
    for name, text in why_unused(left, items.names) if left else ():
        listing.problems.append(Problem("label-note", layout.join(folder, name), f"is kept as it is: {text}"))


def _list_plain(listing: Listing, options: PackOptions) -> None:
    """``red/angry/a.jpg``: dataset ``red``, tag ``angry``; images at the top are in a dataset of the folder's name."""
    found: dict[str, DatasetItems] = {}
    rest = os.path.basename(listing.root) or "images"
    todo = [""]
    while todo:
        folder = todo.pop()
        content = listing.scan(folder)
        todo += [layout.join(folder, name) for name in reversed(content.folders)]
        listing.splits.note(folder, content.folders)
        top = dataset_folder(folder, options, listing.splits)
        dataset = place_of(options.dataset) if options.dataset else basename(top)
        tags = tags_of(f"{folder}/" if folder else "", options, listing.splits)
        unpacked = Unpacked(os.path.join(listing.root, folder))
        for name, size, stamp in zip(content.names, content.sizes, content.stamps, strict=True):
            path = layout.join(folder, name)
            if not _is_image_name(name):
                listing.problems.append(Problem("name", path, f"{unpacked.why(name)}; it wasn't packed"))
                continue
            if wrong := too_long(name):
                listing.problems.append(Problem("name", path, wrong))
                listing.found += 1
                continue
            items = found.setdefault(dataset, DatasetItems(dataset, listing.root))
            items.add(path, name, size, stamp)
            listing.tags.update(tags)
    if (of_none := found.pop("", None)) is not None:
        _place_the_rest(of_none, rest, found, listing, options)
    if options.labels == "folders" and not options.dataset:
        for folder in listing.splits.unclear:
            text = "is called like a split, and folders beside it aren't: taken for a class, so it's a tag"
            listing.problems.append(Problem("label-note", folder, text))
    listing.datasets = [found[name] for name in sorted(found)]
    listing.found += _lost_images(listing, lambda _: True)


def _place_the_rest(
    items: DatasetItems, rest: str, found: dict[str, DatasetItems], listing: Listing, options: PackOptions
) -> None:
    """Have images that are in no folder of a dataset in one that is called like the folder that is packed."""
    if options.labels == "folders":
        rest = place_of_the_rest(rest, set(found))
        if found:
            count = counted(len(items.names), "image that is", "images that are")
            text = f"has {count} of no split, as {items.sources[0]}"
            listing.problems.append(Problem("label-note", rest, text))
    if rest in found:
        items, other = found[rest], items
        for i, name in enumerate(other.names):
            items.add(other.sources[i], name, other.sizes[i], other.stamps[i])
    items.path = rest
    found[rest] = items


def _list_rows(path: str, options: PackOptions) -> Listing:
    """Paths are relative to the list's folder; what has no dataset is in one that is called like the list."""
    # Whoever names a file wants what is behind the name, wherever links lead.
    listing = Listing(os.getcwd() if path == STDIN else os.path.dirname(os.path.realpath(path)), follow_links=True)
    default = options.dataset or ("images" if path == STDIN else splitext(os.path.basename(path))[0])
    found: dict[str, DatasetItems] = {}
    for number, row in read_list(path):
        listing.found += 1
        if isinstance(row, RowError):
            listing.problems.append(Problem("line", f"{shown_list(path)}, line {number}", f"{row}; it was left out"))
            continue
        name = row.name or os.path.basename(row.path)
        stat, wrong = _look_at(listing, row, name)
        dataset = row.dataset or default
        place = layout.dataset_place(dataset)
        if not wrong and place is None:
            wrong = "name", f"{dataset!r} can't be the name of a dataset"
        if wrong or stat is None or place is None:
            wrong = wrong or ("unreadable", "isn't there")
            listing.problems.append(Problem(wrong[0], row.path, f"{wrong[1]} (line {number})"))
            continue
        items = found.setdefault(place, DatasetItems(place, listing.root))
        # One path has one spelling; without its "..", it could lead elsewhere.
        spelled = row.path if ".." in row.path else normpath(row.path)
        items.add(spelled, name, stat.st_size, stamp_of(stat))
        items.tags.append(row.tags)
        items.annotations.append(row.annotation)
        listing.tags.update(row.tags)
    listing.datasets = [found[name] for name in sorted(found)]
    _name_rows_without(listing, shown_list(path))
    return listing


def _name_rows_without(listing: Listing, shown: str) -> None:
    """Say of a list with annotations which of its images it has none for; of one without any, nothing is expected."""
    given = [(one, items.sources[i]) for items in listing.datasets for i, one in enumerate(items.annotations)]
    without = list(dict.fromkeys(source for one, source in given if one is None))
    if without and any(one is not None for one, _ in given):
        text = f"names no annotation for {counted(len(without), 'image')} of {len(given):,}, as {without[0]}"
        listing.problems.append(Problem("no-annotation", shown, f"{text}; they have one without objects"))


def _look_at(listing: Listing, row: Row, name: str) -> tuple[os.stat_result | None, tuple[str, str] | None]:
    """Attributes of an image, or what is wrong with it: a code and a sentence."""
    if not _is_image_name(name):
        return None, ("name", f"{name!r} isn't named like an image: {IMAGE_NAMES}")
    if name in (".", "..") or "/" in name or "\0" in name:
        return None, ("name", f"{name!r} can't be the name of a file")
    if long := too_long(name):
        return None, ("name", long)
    try:
        found = os.stat(os.path.join(listing.root, row.path))
    except (OSError, ValueError) as error:
        return None, ("unreadable", f"can't be looked at: {getattr(error, 'strerror', None) or error}")
    if not os.path.isfile(os.path.join(listing.root, row.path)):
        return None, ("unreadable", "isn't a file: a folder, a device, a pipe")
    return found, None
