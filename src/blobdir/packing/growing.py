"""Growing and shrinking a blob project: new images in new blobs, others removed and moved by their offsets."""

from __future__ import annotations

import os
import time
from array import array
from contextlib import suppress
from posixpath import splitext
from typing import TYPE_CHECKING, Final

from blobdir.discovery import layout
from blobdir.errors import BlobdirError, ImageError, IncompleteListingError, NotFoundError, PackError, UsageError
from blobdir.filenames import is_image_name
from blobdir.images import shown_size
from blobdir.inside import open_plain, read_whole
from blobdir.packing.arriving import watch_coming
from blobdir.packing.belongings import (
    belongings,
    check_nobody_else,
    check_nothing_of_others,
    in_the_way,
    side_folders,
    watch,
)
from blobdir.packing.columns import TextColumn
from blobdir.packing.labelsources import bring_sources
from blobdir.packing.names import slug_of
from blobdir.packing.picturesizes import size_fault_of
from blobdir.packing.plain import check_annotation, plain_annotation, unknown_labels
from blobdir.packing.publishing import Change
from blobdir.packing.report import ChangeReport, Problem, texts
from blobdir.packing.sdknames import made_by_name
from blobdir.packing.shards import Shard, write_shard
from blobdir.packing.sidefiles import FOLDERS
from blobdir.packing.source import MAX_NAME_BYTES
from blobdir.packing.typed import is_exact, meant, readings
from blobdir.packing.unmatched import given_labels
from blobdir.packing.writer import NEW_BLOB, ProjectWriter

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from io import BytesIO

    from blobdir.packing.belongings import Belongings
    from blobdir.packing.provenance import Entry, Origin
    from blobdir.packing.unmatched import GivenLabels

    Images = dict[str, dict[str, Origin]]
    """Path of a dataset -> name -> what makes that image."""


_AT_ONCE: Final = 1 << 20
"""Bytes of an image that are compared at a time."""

# -- add ---------------------------------------------------------------------------------------------------------


def add(
    project: str | os.PathLike[str],
    dataset: str,
    files: Iterable[str | os.PathLike[str]],
    *,
    annotations: str | os.PathLike[str] | None = None,
    replace: bool = False,
    dry_run: bool = False,
) -> ChangeReport:
    """Add images to a dataset: they go to a new blob, old ones aren't touched.

    Parameters
    ----------
    project : path
    dataset : str
        By name; a new one is made.
    files : list of path
    annotations : path, optional
        A folder with ``a.jpg.json``, or by its legacy name ``a.json``. Images without one there keep the annotation
        that the project has; where it has none, they get one without objects. Both are named (``no-annotation``), and
        labels there that none of the images uses (``label-image``).
    replace : bool
        Whether images of the same names are replaced, all copies of them; else they are an error. One whose bytes and
        label are the same is left as it is.
    dry_run : bool
        Only check, and say what would be replaced.

    Raises
    ------
    NotFoundError, UsageError, PackError, AnnotationError, BusyError
        Nothing was added.
    """
    began = time.perf_counter()
    sources = _sources(files)
    given = given_labels(annotations, sources)
    with Change(project, dry_run=dry_run) as change:
        writer = ProjectWriter(change, os.path.abspath(project))
        path = writer.known.new_dataset(dataset)
        present = {name: origin for name, origin in writer.known.origins(path, sources).items() if origin}
        if present and not replace:
            raise UsageError(f"{some_of(present)} in {dataset} already; --replace replaces them")
        writer.known.check_free(path, sources)
        watch_coming(change, writer.known, path, sources, present)
        writer.known.check_origins(present.values())
        there = _labels_there(writer, path, sources, present)
        unchanged = {name: sources.pop(name) for name in _unchanged(writer, sources, present, there, given)}
        for name in unchanged:
            del present[name]
        for origin in present.values():
            writer.drop(origin)
        report = ChangeReport(
            len(sources),
            replaced=[f"{path}/{layout.ITEMS}/{name}" for name in sorted(present)],
            unchanged=[f"{path}/{layout.ITEMS}/{name}" for name in sorted(unchanged)],
            problems=[*made_by_name(writer.known, path), *given.problems, *_without(given, path, there)],
        )
        classes, tags = writer.labels()
        for name, source in unchanged.items():
            if label := given.of.get(name):
                value = check_annotation(read_whole(label), label)
                report.problems += [Problem(*one) for one in unknown_labels(label, value, classes, tags)]
            _check_size(there[name][0], _kept(writer, *there[name]), source, report)
        notes = _annotations(writer, path, sources, there, present, given, report)
        _check_nobodys(writer, path, sources, present, notes)
        if sources:
            _stage(writer, path, sources, notes, report)
        report.problems += writer.write_pickles()
        writer.known.check_not_linked(change.removed)
        change.commit()
    report.say_left(change.leftovers())
    report.seconds = time.perf_counter() - began
    return report


def _check_nobodys(
    writer: ProjectWriter, path: str, sources: Collection[str], present: Mapping[str, Origin], notes: Collection[str]
) -> None:
    """Refuse images that would have another one's files, and labels that another one would have."""
    own = {name: f"{layout.ANNOTATIONS}/{name}.json" for name in sources}
    brought = {label: [name] for name, label in own.items() if f"{path}/{label}" in notes}
    check_nobody_else(writer.known, path, brought, sources)
    check_nothing_of_others(writer.known, path, set(sources) - present.keys(), brought)


def _stage(
    writer: ProjectWriter, path: str, sources: dict[str, str], notes: dict[str, bytes], report: ChangeReport
) -> None:
    """Write what comes, into staging; of a dry run, only say what that is."""
    if writer.change.dry_run:
        for place in (NEW_BLOB, f"{path}/new{layout.OFFSETS_SUFFIX}", *notes):
            writer.change.expect(place)
        writer.write_sums({NEW_BLOB: ""})
        return
    _add_blob(writer, path, sources, report)
    for note, data in notes.items():
        writer.change.stage(note).write_bytes(data)


def _sources(files: Iterable[str | os.PathLike[str]]) -> dict[str, str]:
    """Name of each image -> its file."""
    paths = texts("files", files)
    sources = {os.path.basename(path): os.path.abspath(path) for path in paths}
    if len(sources) != len(paths):
        raise UsageError("two of the files have one name")
    if not sources:
        raise UsageError("no files are given")
    for name, source in sources.items():
        if len(os.fsencode(name)) > MAX_NAME_BYTES:
            raise UsageError(f"{source}: the name has more than {MAX_NAME_BYTES} bytes; its annotation's has 5 more")
        if not os.path.isfile(source):
            if os.path.lexists(source):
                raise UsageError(f"{source}: isn't a file, but a folder, a device, a pipe, or a link to none")
            raise NotFoundError(f"{source}: there is no such file")
    return sources


def _add_blob(writer: ProjectWriter, path: str, sources: dict[str, str], report: ChangeReport) -> None:
    names = sorted(sources, key=os.fsencode)
    paths, sizes = TextColumn(sources[n] for n in names), array("q", [os.path.getsize(sources[n]) for n in names])
    shard = Shard("new", path, "/", paths, TextColumn(names), sizes)
    written, table = write_shard(shard, str(writer.change.stage(NEW_BLOB)))
    problems = [Problem(*problem) for problem in written.problems]
    report.problems += problems
    lost = next((problem for problem in problems if problem.costs), None)
    if lost:
        raise PackError(f"{lost.path}: {lost.message}; nothing was added")
    stem = writer.name_blob(slug_of(path), written.sha256)
    pickle = f"{path}/{stem}{layout.OFFSETS_SUFFIX}"
    writer.add_entries(pickle, ((e.name, e.offset_start, e.offset_end) for e in table))
    writer.write_sums({f"{stem}.tar": written.sha256})
    report.blobs.append(f"{layout.BLOB_DIR}/{stem}.tar")


def _labels_there(
    writer: ProjectWriter, path: str, names: Collection[str], present: Collection[str]
) -> dict[str, tuple[str, Origin]]:
    """Name -> path of the label that the project has for it, empty where there is none, and what is packed of that."""
    packed = writer.known.origins(path, {f"{name}.json" for name in names}, annotations=True)
    writer.known.check_origins(packed.values())
    mine = belongings(writer.known, path, present)
    found = {}
    for name in names:
        own, origin = f"{layout.ANNOTATIONS}/{name}.json", packed[f"{name}.json"]
        having = [one for one in mine[name].paths if one.startswith(f"{layout.ANNOTATIONS}/")] if name in mine else []
        if not having and (origin or writer.known.is_file(f"{path}/{own}")):
            having = [own]
        found[name] = f"{path}/{having[0]}" if having else "", origin
    return found


def _unchanged(
    writer: ProjectWriter,
    sources: dict[str, str],
    present: dict[str, Origin],
    there: dict[str, tuple[str, Origin]],
    given: GivenLabels,
) -> list[str]:
    """Names of images that the project has once, in a blob, with the bytes and the label that they would have."""
    found = []
    for name, origin in present.items():
        label, packed = there[name]
        if origin.file or len(origin.entries) != 1 or not label:
            continue
        kept = _kept(writer, label, packed)
        if name in given.of and (not kept or read_whole(given.of[name]) != kept):
            continue
        if _has_bytes(writer, origin.entries[0], sources[name]):
            found.append(name)
    return found


def _has_bytes(writer: ProjectWriter, entry: Entry, path: str) -> bool:
    """Whether a member has the bytes of a file; not where either can't be read, which is said of who reads it then."""
    with suppress(BlobdirError, OSError), open(open_plain(path), "rb") as file:
        if entry.end - entry.start != os.fstat(file.fileno()).st_size:
            return False
        starts = range(entry.start, entry.end, _AT_ONCE)
        return all(
            file.read(_AT_ONCE) == writer.read_entry(entry.pickle, at, min(at + _AT_ONCE, entry.end)) for at in starts
        )
    return False


def _annotations(
    writer: ProjectWriter,
    path: str,
    sources: dict[str, str],
    there: dict[str, tuple[str, Origin]],
    present: Collection[str],
    given: GivenLabels,
    report: ChangeReport,
) -> dict[str, bytes]:
    """Path and content of each annotation that is to be written; packed ones that these replace are dropped."""
    classes, tags = writer.labels()
    found = {}
    for name, source in sources.items():
        target = f"{path}/{layout.ANNOTATIONS}/{name}.json"
        kept, packed = there[name]
        if label := given.of.get(name):
            data = read_whole(label)
            value = check_annotation(data, label)
            report.problems += [Problem(*one) for one in unknown_labels(label, value, classes, tags)]
            writer.drop(packed)
            _check_size(label, data, source, report)
        elif kept:
            _check_size(kept, _kept(writer, kept, packed), source, report)
            if name not in present:
                text = f"was there already, and no image had it: it is the annotation of {name} now"
                report.problems.append(Problem("taken-over", target, text))
            continue
        else:
            data = annotation_of_image(source, source)
        found[target] = data
    return found


def _without(given: GivenLabels, path: str, there: dict[str, tuple[str, Origin]]) -> Iterator[Problem]:
    """Name images that have no label in the folder of them."""
    for name, (kept, _) in there.items() if given.folder else ():
        if name not in given.of:
            what = "keeps the one that is in the project" if kept else "has one without objects"
            text = f"has none in {given.folder}; it {what}"
            yield Problem("no-annotation", f"{path}/{layout.ITEMS}/{name}", text)


def _kept(writer: ProjectWriter, path: str, packed: Origin) -> bytes:
    """Content of an annotation of the project; nothing where it can't be read, which `verify` says."""
    with suppress(BlobdirError, OSError):
        if writer.known.is_file(path):
            return writer.known.storage.read(path)
        if packed.entries:
            entry = packed.entries[0]
            return writer.read_entry(entry.pickle, entry.start, entry.end)
    return b""


def _check_size(path: str, annotation: bytes, image: str, report: ChangeReport) -> None:
    if fault := size_fault_of(annotation, image):
        report.problems.append(Problem("annotation-size", path, fault))


def some_of(names: Collection[str]) -> str:
    """The first of some names, and how many more there are, as the beginning of a sentence."""
    first, more = min(names), len(names) - 1
    return f"{first}: and {more:,} more are" if more else f"{first}: is"


def annotation_of_image(file: str | BytesIO, name: str) -> bytes:
    """An annotation without objects.

    Raises
    ------
    PackError
        The image's size can't be found out.
    """
    try:
        width, height = shown_size(file)
    except ImageError as error:
        raise PackError(f"{name}: its size can't be found out ({error}); nothing was added") from error
    return plain_annotation(height, width, [])


# -- remove ------------------------------------------------------------------------------------------------------


def remove(
    project: str | os.PathLike[str], paths: Iterable[str | os.PathLike[str]], *, dry_run: bool = False
) -> ChangeReport:
    """Remove images: all copies of each, its annotation, and the other files that belong to it alone.

    Their bytes stay in the blobs until `compact`.

    Parameters
    ----------
    project : path
    paths : list of str
        ``train/a.jpg`` or ``train/img/a.jpg``, by the rule of `blobdir.packing.typed`.
    dry_run : bool
        Only say what would be removed.

    Raises
    ------
    NotFoundError
        One isn't there; nothing was removed.
    IncompleteListingError
        One may be in a folder that can't be listed; nothing was removed.
    PackError
        Something can't be read, or doesn't fit its blob, so it isn't known what would be removed. Nothing was.
    UsageError
        One of the paths can be two images.
    BusyError
    """
    began = time.perf_counter()
    with Change(project, dry_run=dry_run) as change:
        writer = ProjectWriter(change, os.path.abspath(project))
        images = _find(writer, paths)
        report = ChangeReport(sum(map(len, images.values())))
        for dataset, origins in images.items():
            writer.known.check_origins(origins.values())
            found = belongings(writer.known, dataset, origins)
            watch(change, writer.known, dataset, {name: mine.paths for name, mine in found.items()})
            for name, mine in found.items():
                writer.drop(origins[name])
                report.removed.append(f"{dataset}/{layout.ITEMS}/{name}")
                report.removed += writer.drop_belongings(dataset, mine)
            change.make_folder(f"{dataset}/{layout.ANNOTATIONS}")  # by it, one without images stays a dataset
        report.removed = list(dict.fromkeys(report.removed))
        writer.known.check_not_linked(change.removed)
        report.problems += writer.write_pickles()
        change.commit()
    report.say_left(change.leftovers())
    report.seconds = time.perf_counter() - began
    return report


def _find(writer: ProjectWriter, paths: Iterable[str | os.PathLike[str]]) -> Images:
    """The images that paths mean."""

    def called(text: str) -> list[str]:
        spelled = (writer.known.datasets.get(text, ""), text if writer.known.is_dataset(text) else "")
        return [dataset for dataset in dict.fromkeys(spelled) if dataset]

    candidates = {path: readings(path, called) for path in texts("paths", paths)}
    wanted: dict[str, dict[str, None]] = {}
    for images in candidates.values():
        for dataset, name in images:
            wanted.setdefault(dataset, {})[name] = None
    known = {dataset: writer.known.origins(dataset, list(names)) for dataset, names in wanted.items()}
    found: Images = {}
    for path, images in candidates.items():
        items = [(dataset, name) for dataset, name in images if known[dataset][name]]
        there = [(dataset, name) for dataset, name in items if known[dataset][name].entries or is_image_name(name)]
        is_seen = any(is_exact(path, image) for image in there)
        why = "" if is_seen else writer.known.why_unseen(path.strip("/").rpartition("/")[0])
        if why:
            raise IncompleteListingError(f"{path}: may be an image that isn't seen: {why}; nothing was changed")
        if items and not there:
            raise UsageError(
                f"{path}: is a file beside the images, and no image; remove or move it in a transaction; nothing was "
                "changed"
            )
        if not there:
            raise NotFoundError(f"{path}: no such image in {writer.root}; write train/a.jpg; nothing was changed")
        for dataset, name in meant(path, there):
            found.setdefault(dataset, {})[name] = known[dataset][name]
    return found


# -- move --------------------------------------------------------------------------------------------------------


def move(
    project: str | os.PathLike[str], paths: Iterable[str | os.PathLike[str]], dataset: str, *, dry_run: bool = False
) -> ChangeReport:
    """Move images to another dataset, with their annotations and the other files that belong to them.

    No image byte is copied, and no copy stays behind. What other images need as well stays, and is copied. What label
    files said of the datasets that they come from is in the ``label_source.json`` of the new one, too.

    Raises
    ------
    NotFoundError, IncompleteListingError, UsageError, PackError, BusyError
        Nothing was moved.
    """
    began = time.perf_counter()
    with Change(project, dry_run=dry_run) as change:
        writer = ProjectWriter(change, os.path.abspath(project))
        target = writer.known.new_dataset(dataset)
        images = _find(writer, paths)
        _check_target(writer, images, target, dataset)
        report = ChangeReport(problems=made_by_name(writer.known, target))
        moved: dict[str, str] = {}
        meant: dict[str, list[str]] = {}
        found: dict[str, dict[str, Belongings]] = {}
        for source, origins in images.items():
            writer.known.check_origins(origins.values())
            found[source] = belongings(writer.known, source, origins)
            watch(change, writer.known, source, {name: mine.paths for name, mine in found[source].items()})
            for name, mine in found[source].items():
                _move_image(writer, source, name, origins[name], target)
                for path in _move_belongings(writer, source, name, mine, target, moved):
                    meant.setdefault(path, []).append(name)
                report.removed.append(f"{source}/{layout.ITEMS}/{name}")
                report.removed += writer.drop_belongings(source, mine)
                report.images += 1
        check_nobody_else(writer.known, target, meant, [name for origins in images.values() for name in origins])
        bring_sources(writer, found, target, report)
        for place in (target, *images):
            change.make_folder(f"{place}/{layout.ANNOTATIONS}")  # by it, one without images stays a dataset
        writer.known.check_not_linked(change.removed)
        report.problems += writer.write_pickles()
        change.commit()
    report.say_left(change.leftovers())
    report.removed = list(dict.fromkeys(report.removed))
    report.seconds = time.perf_counter() - began
    return report


def _check_target(writer: ProjectWriter, images: Images, target: str, shown: str) -> None:
    names: dict[str, str] = {}
    for dataset, origins in images.items():
        for name in origins:
            if name in names:
                raise UsageError(f"{name}: is in {names[name]} and in {dataset}, and both were to be moved")
            names[name] = dataset
    present = {name: origin for name, origin in writer.known.origins(target, names).items() if origin}
    if present:
        raise UsageError(f"{some_of(present)} in {shown} already; nothing was moved")
    writer.known.check_free(target, names)
    watch_coming(writer.change, writer.known, target, names, {})


def _check_adopted(writer: ProjectWriter, name: str, mine: Belongings, target: str) -> None:
    """Refuse where an image would get files in its new dataset that are another one's."""
    own = {path.partition("/")[0] for path in mine.paths}
    for path in in_the_way(writer.known, target, name, side_folders(writer.known, target), own):
        raise UsageError(f"{target}/{path}: is there already, and would be taken for {name}'s; nothing was moved")


def _move_image(writer: ProjectWriter, source: str, name: str, origin: Origin, target: str) -> None:
    for entry in origin.entries:
        file = entry.pickle.path.rpartition("/")[2]
        writer.copy_entries(f"{target}/{file}", [(name, entry.start, entry.end, entry.state)])
    if origin.file:
        writer.carry(origin.file, f"{target}/{origin.file[len(source) + 1 :]}")
    writer.drop(origin)


def _move_belongings(
    writer: ProjectWriter, source: str, name: str, mine: Belongings, target: str, moved: dict[str, str]
) -> list[str]:
    """Put what belongs to an image into another dataset, under the image's full name where that is clear.

    Gives the paths there, relative to the dataset.
    """
    _check_adopted(writer, name, mine, target)
    writer.check_one_label(source, mine)
    found = [_full_name(path, name) for path in mine.paths]
    for path, tail in zip(mine.paths, found, strict=True):
        new = f"{target}/{tail}"
        if moved.setdefault(new, f"{source}/{path}") != f"{source}/{path}":
            raise UsageError(f"{new}: both {moved[new]} and {source}/{path} would be there; nothing was moved")
        if writer.change.is_staged(new):
            continue
        if path in mine.files:
            writer.carry(f"{source}/{path}", new)
        elif writer.change.dry_run:
            writer.change.expect(new)
        else:
            origin = next(origin for packed, origin, _ in mine.packed if packed == path)
            entry = origin.entries[0]
            writer.change.stage(new).write_bytes(writer.read_entry(entry.pickle, entry.start, entry.end))
    return found


def _full_name(path: str, name: str) -> str:
    """``ann/a.json`` of ``a.png`` as ``ann/a.png.json``: by its stem, another image there could have it too."""
    stem = splitext(name)[0]
    for kind, suffix in FOLDERS.items():
        if path == f"{kind}/{stem}{suffix}":
            return f"{kind}/{name}{suffix}"
    return path
