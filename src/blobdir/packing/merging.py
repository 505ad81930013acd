"""New projects, ready-made tars, and one project taken into another."""

from __future__ import annotations

import os
import time
from pathlib import Path
from posixpath import basename, splitext
from typing import TYPE_CHECKING, Any, Final

from blobdir.discovery import layout
from blobdir.durable import absolute
from blobdir.errors import BlobdirError, PackError, UsageError
from blobdir.labels.supervisely import SOURCE
from blobdir.offsets import offsets_of_tar
from blobdir.packing.arriving import watch_coming
from blobdir.packing.backups import backed_up, is_backup_of_any, renamed_backup
from blobdir.packing.belongings import check_nothing_of_others, in_the_way, wanted_by
from blobdir.packing.growing import some_of
from blobdir.packing.labelsources import Part, check_classes, put_together, source_of
from blobdir.packing.linked import check_merged
from blobdir.packing.locking import hold
from blobdir.packing.metadata import EMPTY_META, check_meta, encode_meta, merged_meta, read_meta
from blobdir.packing.names import renewed_stem
from blobdir.packing.newfolder import NewFolder
from blobdir.packing.provenance import Provenance
from blobdir.packing.publishing import Change
from blobdir.packing.report import ChangeReport, Problem
from blobdir.packing.sdknames import made_by_name
from blobdir.packing.shardindexes import is_index
from blobdir.packing.sharing import copy_file, share_blob
from blobdir.packing.sidefiles import FOLDERS
from blobdir.packing.sums import SUMS, read_sums
from blobdir.packing.widening import check_widened
from blobdir.packing.writer import NEW_BLOB, ProjectWriter, digest_of
from blobdir.sources import LocalStorage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blobdir.discovery.parts import Pickle
    from blobdir.offsets.attributes import State

SUFFIX: Final = ".creating"


def create_project(path: str | os.PathLike[str], meta: dict[str, Any] | None = None) -> None:
    """Make an empty blob project.

    Parameters
    ----------
    path : path
        Must not exist.
    meta : dict, optional
        Content of ``meta.json``; without classes and tags by default.

    Raises
    ------
    UsageError
        It's there already.
    AnnotationError
        `meta` can't be that of a project.
    PackError
        It can't be written; then it isn't there.
    BusyError
        Another process is making it.
    """
    content = encode_meta(EMPTY_META if meta is None else meta)
    check_meta(content, is_certain=True)  # of a dictionary whose keys aren't all texts, two can be one
    new = NewFolder(path, SUFFIX, resume=True)  # what is left of one that was killed is made anew
    if new.target.parent.is_dir():
        new.check()
    else:
        try:
            new.target.parent.mkdir(parents=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise UsageError(f"{new.target.parent}: isn't a folder, or lies in a file; choose another place") from error
    with new:
        try:
            new.clear()
            new.made.fd(layout.BLOB_DIR)
            new.made.write(layout.META, [content])
        except BaseException as error:
            new.discard(error)
            raise
        new.publish()


def add_blob_file(
    project: str | os.PathLike[str], tar: str | os.PathLike[str], dataset: str, *, link: bool = False
) -> ChangeReport:
    """Take a tar of images that somebody else has made into a project, as a blob of a dataset.

    It gets its own name, with a few digits of its checksum. Images get no annotations by this: see `blobdir verify`.

    Parameters
    ----------
    project : path
    tar : path
        Uncompressed.
    dataset : str
    link : bool
        Have a hard link instead of a copy, where that can be. Who writes to the tar later damages the project then.

    Raises
    ------
    TarError, OffsetsConflictError
        It isn't one, or two of its members have one name.
    UsageError
        The dataset has images of these names.
    """
    began = time.perf_counter()
    source = os.path.realpath(tar)
    table = offsets_of_tar(tar)
    with Change(project) as change:
        writer = ProjectWriter(change, os.path.abspath(project))
        path = writer.known.new_dataset(dataset)
        problems = made_by_name(writer.known, path)
        names = {os.fsdecode(name) for name in table.names()}
        clash = [name for name, origin in writer.known.origins(path, names).items() if origin]
        if clash:
            raise UsageError(f"{some_of(clash)} in {dataset} already")
        writer.known.check_free(path, names)
        watch_coming(change, writer.known, path, names, {})
        check_nothing_of_others(writer.known, path, names)
        beside = LocalStorage(os.path.dirname(source), follow_links=True)
        share_blob(beside, os.path.basename(source), change.stage(NEW_BLOB), "auto" if link else "copy")
        digest = digest_of(change.stage(NEW_BLOB))
        stem = writer.rename_blob(Path(tar).stem, digest, NEW_BLOB, layout.BLOB_DIR)
        writer.add_entries(
            f"{path}/{stem}{layout.OFFSETS_SUFFIX}", ((os.fsdecode(n), s, e) for n, s, e in table.entries())
        )
        change.make_folder(f"{path}/{layout.ANNOTATIONS}")  # the SDK wants the folder
        writer.write_sums({f"{stem}.tar": digest})
        problems += writer.write_pickles()
        change.commit()
    report = ChangeReport(len(table), [f"{layout.BLOB_DIR}/{stem}.tar"], problems=problems)
    report.seconds = time.perf_counter() - began
    return report


def merge(
    project: str | os.PathLike[str], other: str | os.PathLike[str], *, copy: bool = False, dry_run: bool = False
) -> ChangeReport:
    """Take all datasets of another project into a project; its blobs become hard links, where they can be.

    All that lies in its datasets comes along: annotations, image meta, masks, files in folders, empty datasets.
    Classes, tags and settings of both are in ``meta.json`` afterwards. Files beside the datasets, such as a README,
    that both projects have with different content stay those of `project`; each is named in the report.

    Parameters
    ----------
    project, other : path
        `other` isn't changed, and nobody can change it meanwhile: a lock is left in its ``.blobdir``.
    copy : bool
        Copy the blobs.
    dry_run : bool
        Only check, and say what would be taken.

    Raises
    ------
    UsageError
        A dataset of both has an image of one name; a class, a tag or a setting is two different ones; a file would be
        replaced, or an image get another one's annotation. Nothing was changed.
    PackError
        Something of `other` can't be read, or doesn't fit. Nothing was changed.
    BusyError
        Somebody is changing one of them.
    """
    began = time.perf_counter()
    ours, theirs = absolute(project), absolute(other)
    if os.path.realpath(ours) == os.path.realpath(theirs):
        raise UsageError(f"{other}: is the same project; nothing was changed")
    with Change(ours, dry_run=dry_run) as change, hold(theirs, make=not dry_run) as check:
        writer, known = ProjectWriter(change, ours), Provenance(theirs)
        check_merged(known)
        report = _Merge(writer, known, copy=copy).run()
        check("nothing was changed; try again")
        change.commit()
    report.say_left(change.leftovers())
    report.seconds = time.perf_counter() - began
    return report


class _Merge:
    def __init__(self, writer: ProjectWriter, theirs: Provenance, *, copy: bool) -> None:
        self._writer, self._theirs, self._copy = writer, theirs, copy
        self._change = writer.change
        self._report = ChangeReport()
        self._sums = read_sums(os.path.join(theirs.root, layout.BLOB_DIR, SUMS))
        self._added: dict[str, str] = {}
        self._stems: dict[str, str] = {}  # path of their blob -> stem here

    def run(self) -> ChangeReport:
        self._theirs.check_all_seen()
        metas = self._meta(self._writer.known), self._meta(self._theirs)
        meta = merged_meta(*metas)
        for known, mine in zip((self._writer.known, self._theirs), metas, strict=True):
            check_widened(known.root, mine, meta)
        targets = {path: self._target(name, path) for name, path in self._theirs.datasets.items()}
        _check_hidden(targets)
        for path, target in targets.items():
            _check_names(self._writer.known, target, self._theirs, path)
            _check_masks(self._writer.known, target, self._theirs, path)
            _check_classes(self._writer.known, target, self._theirs, path, metas)
            names = {os.fsdecode(name) for name in self._theirs.image_names(path)}
            watch_coming(self._change, self._writer.known, target, names, {})
            self._report.images += len(names)
        for path, target in targets.items():
            for pickle in self._theirs.pickles(path):
                self._take_pickle(pickle, target)
        self._say_lost_sums()
        for path in self._other_files():
            self._take_file(path, targets)
        for path, target in targets.items():
            for folder in (layout.ITEMS, layout.ANNOTATIONS):
                if self._theirs.is_folder(f"{path}/{folder}"):
                    self._change.make_folder(f"{target}/{folder}")
        self._change.expect(layout.META)
        content = encode_meta(meta)
        if not self._change.dry_run:
            self._change.stage(layout.META).write_bytes(content)
        self._writer.write_sums(self._added)
        self._report.problems += self._writer.write_pickles()
        return self._report

    @staticmethod
    def _meta(known: Provenance) -> dict[str, Any]:
        data = known.storage.read(layout.META) if known.is_file(layout.META) else None
        return read_meta(data, known.root)

    def _target(self, name: str, path: str) -> str:
        """Where their dataset goes: to ours at the same place, else of the same name, else to the same place."""
        ours = self._writer.known
        target = path if path in ours.datasets.values() else ours.dataset(name) or path
        ours.check_new(target)
        return target

    # -- offsets and blobs -----------------------------------------------------------------------------------

    def _take_pickle(self, pickle: Pickle, target: str) -> None:
        blob = self._theirs.blob_of(pickle)
        entries: dict[str, tuple[int, int]] = {}
        found: list[tuple[str, int, int, State]] = []
        for _, table in self._theirs.tables(pickle, attributes=True):
            self._theirs.check_fit(pickle, table)
            for row, (raw, *span) in enumerate(table.entries()):
                name = os.fsdecode(raw)
                if entries.setdefault(name, (span[0], span[1])) != (span[0], span[1]):
                    raise PackError(
                        f"{pickle.path}: has one name with different ranges; mend it first; nothing was changed"
                    )
                found.append((name, span[0], span[1], table.state(row)))
        packed = pickle.blobs != layout.BLOB_DIR
        folder = f"{target}/{layout.PACKED_ANNOTATIONS}" if packed else target
        stem = self._take_blob(blob, folder if packed else layout.BLOB_DIR)
        self._writer.copy_entries(f"{folder}/{stem}{layout.OFFSETS_SUFFIX}", found)

    def _take_blob(self, blob: str, folder: str) -> str:
        """Have their blob be in ours; gives its stem, which is its own if nobody has that here."""
        if blob in self._stems:
            return self._stems[blob]
        stem = splitext(basename(blob))[0]
        if stem.casefold() in self._writer.taken:
            stem = renewed_stem(stem, self._digest(blob), self._writer.taken)
        self._writer.taken.add(stem.casefold())
        self._stems[blob] = stem
        path = f"{folder}/{stem}.tar"
        self._report.blobs.append(path)
        self._change.expect(path)
        if not self._change.dry_run:
            try:
                share_blob(self._theirs.storage, blob, self._change.stage(path), "copy" if self._copy else "auto")
            except (OSError, BlobdirError) as error:
                raise PackError(f"{self._theirs.root}/{blob}: can't be taken: {error}; nothing was changed") from error
        if folder == layout.BLOB_DIR:
            self._added[f"{stem}.tar"] = "" if self._change.dry_run else self._digest(blob)
        return stem

    def _say_lost_sums(self) -> None:
        """Say it where their checksums are not taken: a file of only theirs would lack all of ours."""
        path = f"{layout.BLOB_DIR}/{SUMS}"
        if not self._writer.known.is_file(path) and not self._sums.keys().isdisjoint(map(basename, self._stems)):
            message = f"{self._writer.root} has no such file, so the checksums of the other project weren't taken"
            self._report.problems.append(Problem("kept", path, message))

    def _digest(self, blob: str) -> str:
        # What SHA256SUMS says of theirs, even if the bytes are others by now: `verify` must be able to tell.
        known = self._sums.get(basename(blob)) if blob.startswith(f"{layout.BLOB_DIR}/") else None
        return known or digest_of(os.path.join(self._theirs.root, blob))

    # -- files -----------------------------------------------------------------------------------------------

    def _other_files(self) -> Iterator[str]:
        """All files of their project, but for meta.json, offsets, blobs with offsets, and what is blobdir's own."""
        pickles = {pickle.path for pickle in self._theirs.all_pickles()}
        skipped = {layout.META, *pickles, *self._stems, f"{layout.BLOB_DIR}/{SUMS}"}
        for found in self._theirs.files_below(""):
            path = found.removeprefix("./")
            if path in skipped or path.startswith(f"{layout.STATE_DIR}/"):
                continue
            if path.startswith(f"{layout.BLOB_DIR}/") and is_index(path):
                continue  # of their tars; ours are renewed
            if path.startswith(f"{layout.BLOB_DIR}/"):
                message = "no dataset has offsets for it; it wasn't taken"
                self._report.problems.append(Problem("blob-unreferenced", path, message))
                continue
            yield path

    def _take_file(self, path: str, targets: dict[str, str]) -> None:
        full = os.path.join(self._theirs.root, path)
        owner = max((d for d in targets if path.startswith(f"{d}/")), key=len, default="")
        is_link = os.path.islink(full)
        if is_link and not os.path.isfile(full):  # what isn't a folder of theirs was refused before
            self._leave_link(path, owner)
            return
        if not (named := self._named(path)):
            message = "is a backup of offsets, and no dataset has others for their blob; it wasn't taken"
            self._report.problems.append(Problem("backup-unused", path, message))
            return
        target = f"{targets[owner]}{named[len(owner) :]}" if owner else named
        ours = self._writer.known
        if ours.is_folder(target):
            raise UsageError(f"{target}: is a folder in {ours.root} and a file in the other; nothing was changed")
        if ours.is_file(target) or self._change.is_staged(target):
            if not self._same(target, path):
                self._settle(path, target, owner)
            return
        try:
            content = self._theirs.storage.read(path) if is_link else None  # what it leads to, if that's inside
            if self._change.dry_run:
                self._change.expect(target)
            elif content is not None:
                self._change.stage(target).write_bytes(content)
            else:
                copy_file(self._theirs.storage, path, self._change.stage(target))
        except (OSError, BlobdirError) as error:
            raise PackError(f"{self._theirs.root}/{path}: can't be taken: {error}; nothing was changed") from error

    def _leave_link(self, path: str, owner: str) -> None:
        """Name a link that leads to no file; PackError where an image of theirs would be without what it stands for."""
        target = os.readlink(os.path.join(self._theirs.root, path))
        within = path[len(owner) + 1 :] if owner else ""
        image = wanted_by(self._theirs, owner, within) if owner else ""
        if image or within == SOURCE:
            whose = "the project" if image and within.endswith(f"/{image}") else image or "its dataset"
            of = f"{whose} would be without it"
            raise PackError(
                f"{self._theirs.root}/{path}: is a symbolic link to {target}, which is no file, and {of}; put the file "
                "itself there, or remove the link; nothing was changed"
            )
        self._report.problems.append(Problem("link", path, f"is a symbolic link to {target}, no file; it wasn't taken"))

    def _settle(self, path: str, target: str, owner: str) -> None:
        """Of a file that both have, and that differs: ours stays, or both are put together, or it's refused."""
        if not owner:
            message = "both projects have it, and they differ: it stays as it was"
            self._report.problems.append(Problem("kept", path, message))
        elif path == f"{owner}/{SOURCE}":
            self._take_source(path, target)
        else:
            raise UsageError(f"{target}: both projects have it, and they differ; nothing was changed")

    def _take_source(self, path: str, target: str) -> None:
        """Have in a dataset's `SOURCE` what theirs says, too; what of that can't be in it is named."""
        contents = self._writer.read(target), self._theirs.storage.read(path)
        content, lost = put_together(target.removesuffix(f"/{SOURCE}"), contents, "project")
        for text in lost:
            self._report.problems.append(Problem("kept", target, text))
        self._change.expect(target)
        if content is not None and not self._change.dry_run:
            self._change.stage(target).write_bytes(content)

    def _named(self, path: str) -> str:
        """Path of a file, with the blob's new name in it if it's a backup of offsets; empty if none has come for it."""
        folder, _, name = path.rpartition("/")
        if not backed_up(name):
            return path
        for blob, stem in self._stems.items():
            if is_backup_of_any(path, [blob]):
                return layout.join(folder, renamed_backup(name, f"{stem}{layout.OFFSETS_SUFFIX}"))
        return ""

    def _same(self, target: str, path: str) -> bool:
        if not self._writer.known.is_file(target):
            return False
        return self._writer.read(target) == self._theirs.storage.read(path)


def _check_hidden(targets: dict[str, str]) -> None:
    """Refuse two datasets that can't both be ones, or would be one."""
    found: dict[str, str] = {}
    for path, target in targets.items():
        for other, whose in found.items():
            if target == other or layout.hides(target, other) or layout.hides(other, target):
                raise UsageError(f"{path} and {whose}: can't both be datasets here; nothing was changed")
        found[target] = path


def _check_masks(ours: Provenance, target: str, theirs: Provenance, path: str) -> None:
    """Refuse where the masks of an image of one project would be taken for those of one of the other."""
    if target not in ours.datasets.values():
        return
    sides = ((ours, target), (theirs, path))
    folders = [[f for f in known.side_folders(place) if f not in FOLDERS] for known, place in sides]
    for (known, place), mine, (other, there) in zip(sides, folders, reversed(sides), strict=True):
        for name in {os.fsdecode(raw) for raw in other.image_names(there)} if mine else ():
            for one in in_the_way(known, place, name, mine):
                raise UsageError(
                    f"{target}/{one}: of one project would be taken for that of {name} of the other; rename one; "
                    "nothing was changed"
                )


def _check_classes(
    ours: Provenance, target: str, theirs: Provenance, path: str, metas: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    """Refuse where a title stands for another class in a dataset of one project, and for itself in that of the other.

    Raises
    ------
    UsageError
    """
    if target not in ours.datasets.values():
        return
    parts = []
    for (known, place), meta in zip(((ours, target), (theirs, path)), metas, strict=True):
        titles = {item["title"] for item in meta.get("classes", [])}
        parts.append(Part(source_of(known, place), titles.intersection))
    check_classes(target, parts, "project")


def _check_names(ours: Provenance, target: str, theirs: Provenance, path: str) -> None:
    """Refuse where an image would be there twice, or get a side file that isn't its own."""
    if target not in ours.datasets.values():
        return
    items = [
        {os.fsdecode(name): is_image for name, is_image in known.item_names(place)}
        for known, place in ((ours, target), (theirs, path))
    ]
    both = items[0].keys() & items[1].keys()
    if both:
        more = f", and {len(both) - 1:,} more of these names" if len(both) > 1 else ""
        raise UsageError(f"{layout.dataset_name(target)}: both projects have {min(both)} in it{more}")
    ours.check_free(target, items[1])
    theirs.check_free(path, items[0])
    names = [[name for name, is_image in found.items() if is_image] for found in items]
    packed = [set(_packed(known, place)) for known, place in ((ours, target), (theirs, path))]
    loose = [set(_files_of(known, place, layout.ANNOTATIONS)) for known, place in ((ours, target), (theirs, path))]
    if twice := (packed[0] & loose[1]) | (packed[1] & loose[0]):
        raise UsageError(f"{target}/{layout.ANNOTATIONS}/{min(twice)}: both projects have it; nothing was changed")
    for kind, suffix in FOLDERS.items():
        files = [set(_files_of(known, place, kind)) for known, place in ((ours, target), (theirs, path))]
        for mine, other, images in ((*files, names[0]), (*reversed(files), names[1])):
            for name in images:
                full, short = f"{name}{suffix}", f"{splitext(name)[0]}{suffix}"
                own = full if full in mine else short if short in mine else ""
                new = full if full in other and own != full else short if short in other and not own else ""
                if new:
                    raise UsageError(
                        f"{target}/{kind}/{new}: of one project would be taken for that of {name} of the other; rename "
                        "one; nothing was changed"
                    )


def _packed(known: Provenance, dataset: str) -> Iterator[str]:
    """Names of packed annotations."""
    for pickle in known.pickles(dataset):
        if pickle.shown == f"{dataset}/{layout.ANNOTATIONS}":
            for _, table in known.tables(pickle):
                yield from map(os.fsdecode, table.names())


def _files_of(known: Provenance, dataset: str, kind: str) -> Iterator[str]:
    """Names of the files of a side folder, packed ones as well."""
    top = f"{dataset}/{kind}"
    if kind == layout.ANNOTATIONS:
        yield from _packed(known, dataset)
    for path in known.files_below(top):
        yield path[len(top) + 1 :]
