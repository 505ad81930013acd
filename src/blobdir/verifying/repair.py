"""Mending what can be mended without loss: offsets, from the headers of the tar they belong to."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from blobdir.discovery import layout, parts
from blobdir.discovery.released import read_released, whole_of
from blobdir.errors import BlobdirError, OffsetsError, UnsafePickleError
from blobdir.offsets import OffsetsTable, read_offsets, write_offsets
from blobdir.packing.backups import backup_name
from blobdir.packing.linked import linked_places
from blobdir.packing.publishing import Change
from blobdir.project import open_project
from blobdir.projectlock import STATE_DIR
from blobdir.sources import LocalStorage
from blobdir.temporary import discard, is_temporary
from blobdir.verifying.evidence import SHOWN, Evidence, nameless, shown_names
from blobdir.verifying.findings import in_words
from blobdir.verifying.members import FITS, Members, judge
from blobdir.verifying.mending import Claims, Others, mended
from blobdir.verifying.places import blob_folders, incomplete_folders, pickles_inside, pickles_of, unlisted
from blobdir.verifying.undisturbed import undisturbed
from blobdir.wording import counted

if TYPE_CHECKING:
    from blobdir.discovery.released import Released
    from blobdir.packing.linked import LinkedPlace
    from blobdir.project import Project
    from blobdir.verifying.findings import VerifyReport

_MENDABLE = frozenset(
    {
        "offset-no-member", "offset-size", "offset-name", "offset-past-end", "offset-overlap", "offset-shared",
        "offsets-unreadable", "offsets-repeated", "offsets-truncated", "offsets-corrupt", "offsets-range",
        "offsets-type", "offsets-name", "offsets-conflict", "offsets-unsafe",
    }
)  # fmt: skip
_UNFINISHED = frozenset({"change-unfinished", "change-leftover"})
FEW: Final = 3
"""Names that a sentence has at the most."""


def _left(root: str, path: str, *, dry_run: bool) -> str:
    """What is done with something that was cut off."""
    done = "would be" if dry_run else "was"
    if is_temporary(os.path.basename(path)):
        if dry_run or discard(os.path.join(root, path)):
            return f"left of a write that was cut off: {done} removed"
    elif path.startswith(f"{STATE_DIR}/"):
        return f"{done} finished, or what it had prepared removed"
    return "left of a write that was cut off: not removed"


@dataclass(slots=True)
class Plan:
    """What mending would write, and what is to be said of it.

    Attributes
    ----------
    tables : dict
        Path of a pickle -> its new entries.
    said : list of str
        A sentence for each pickle, mended or not.
    nameless : list
        Pickles that can't be read, and their tars.
    left_out : dict
        Path of a pickle -> how many images it doesn't name any more, of which nobody knows whether they were removed.
    """

    tables: dict[str, OffsetsTable] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    nameless: list[_Nameless] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)


def repair(project: str | os.PathLike[str], report: VerifyReport, *, dry_run: bool = False) -> list[str]:
    """Write pickles anew that a report has found wanting. The old one is kept beside it, as ``NAME.pkl.backup-TIME``.

    What fits the tar (header, size and name) stays as it is. The other entries get the place that the tar has for
    their name, where there is only one that it can be. A pickle that can't be read gets the members of its tar that
    something shows to be there still (`blobdir.verifying.evidence`), if no other pickle refers to that: else nobody
    knows which are whose. A change that was cut off is finished first.

    Parameters
    ----------
    project : path
    report : VerifyReport
        Of this project.
    dry_run : bool
        Only say what would be done.

    Returns
    -------
    list of str
        What was done, and what couldn't be, a sentence for each.

    Raises
    ------
    BusyError
        Somebody else is changing the project.
    """
    return mend(project, report, dry_run=dry_run).said


def mend(project: str | os.PathLike[str], report: VerifyReport, *, dry_run: bool = False) -> Plan:
    """The same as `repair`, and gives all that was planned, and in `Plan.said` all that is said."""
    root = os.path.realpath(project)
    said = [
        f"{finding.path}: {_left(root, finding.path, dry_run=dry_run)}"
        for finding in report.findings
        if finding.code in _UNFINISHED
    ]
    if not said and _MENDABLE.isdisjoint(finding.code for finding in report.findings):
        return Plan()
    if dry_run:
        plan = undisturbed(root, lambda: _plan(root, report))
        plan.said = said + [sentence.replace(_DONE, _WOULD, 1) for sentence in plan.said]
        return plan
    with Change(root) as change:
        plan = _plan(root, report)
        for pickle, table in plan.tables.items():
            backup = _backup(root, pickle)
            staged = change.stage(backup)
            staged.write_bytes(LocalStorage(root).read(pickle))
            shutil.copystat(os.path.join(root, pickle), staged)
            write_offsets(change.stage(pickle), table)
            done = plan.said.index(next(text for text in plan.said if text.startswith(f"{pickle}: {_DONE} ")))
            plan.said[done] += f"; the old one is {os.path.basename(backup)}"
        if plan.tables:
            change.commit()
    plan.said = said + plan.said
    return plan


_DONE, _WOULD = "now has", "would have"


def _plan(root: str, report: VerifyReport) -> Plan:
    """What there is to write, by the project as it is now. Nothing is changed."""
    opened = open_project(root, index="none", on_defect="ignore")
    storage = LocalStorage(root)
    folders = {folder.path: folder for folder in storage.walk(follow_links=False)}
    datasets = opened.tree.index.header.datasets
    wanted = {finding.path for finding in report.findings if finding.code in _MENDABLE}
    links = list(linked_places(storage, datasets, folders.get))
    plan = Plan()
    for pickle, inner in pickles_inside(folders, datasets).items():
        if pickle in wanted:
            plan.said.append(f"{pickle}: not mended: {inner} is a project of its own; repair that one")
    for folder in blob_folders(folders, datasets):
        tars, _ = parts.find_blobs(folders[folder])
        hidden = unlisted(folders, datasets, folder)
        for stem, pickles in pickles_of(folders, datasets, folder).items():
            if wanted.isdisjoint(pickles):
                continue
            if stem not in tars:
                plan.said += [f"{pickle}: not mended: its blob isn't there" for pickle in pickles if pickle in wanted]
                continue
            tar = tars[stem]
            shared = {path: _why_shared(storage, path, tar, links) for path in pickles if path in wanted}
            if any(shared.values()):
                plan.said += [f"{path}: not mended: {why}" for path, why in shared.items() if why]
                continue
            if storage.escapes(tar):
                plan.said += [f"{pickle}: not mended: {tar} leads outside the project" for pickle in pickles]
                continue
            try:
                _plan_blob(storage, tar, pickles, hidden, wanted, plan)
            except (BlobdirError, OSError) as error:
                why = in_words(error) if isinstance(error, BlobdirError) else f"{tar} {in_words(error)}"
                plan.said += [f"{pickle}: not mended: {why}" for pickle in pickles if pickle in wanted]
    _conclude_nameless(opened, root, incomplete_folders(opened, folders), plan)
    return plan


def _why_shared(storage: LocalStorage, pickle: str, tar: str, links: list[LinkedPlace]) -> str:
    """Why a pickle isn't only what it looks like, because of a symbolic link; empty where there is none."""
    full = os.path.join(storage.root, pickle)
    if os.path.realpath(os.path.dirname(full)) != os.path.dirname(full):
        return "lies behind a symbolic link"
    if os.path.islink(full):
        return "is a symbolic link; put the file itself there"
    real_tar = os.path.realpath(os.path.join(storage.root, tar))
    for link in links:
        if not link.leads_out and (
            (link.kind == "blob" and link.real == real_tar)
            or (link.kind == "offsets" and link.real == full)
            or (link.kind == "folder" and f"{full}/".startswith(f"{link.real}/"))
        ):
            return f"{link} first"
    return ""


def _plan_blob(
    storage: LocalStorage, tar: str, pickles: list[str], hidden: list[str], wanted: set[str], plan: Plan
) -> None:
    full = os.path.join(storage.root, tar)
    members, size = Members.of(full), os.path.getsize(full)
    read = {pickle: _read(storage, pickle, members, size) for pickle in pickles}
    claims = {
        pickle: Claims.of(members, found.table, size) for pickle, found in read.items() if found.table is not None
    }
    for pickle in filter(wanted.__contains__, pickles):
        found = read[pickle]
        if found.why_not:
            plan.said.append(f"{pickle}: not mended: {found.why_not}")
        elif found.table is not None:
            others = Others(
                [some for other, some in claims.items() if other != pickle],
                all_known=not hidden and len(claims) == len(pickles),
            )
            new, left = mended(members, found.table, size, others)
            _conclude(plan, pickle, tar, found, new, left)
        elif len(pickles) > 1:
            plan.said.append(f"{pickle}: can't be read, and {tar} serves other datasets too: not mended")
        elif hidden:
            plan.said.append(f"{pickle}: can't be read, and {hidden[0]} can't be listed: not mended")
        else:
            plan.nameless.append(_Nameless(pickle, tar, members))


@dataclass(frozen=True, slots=True)
class _Read:
    """The entries of a pickle, each name once; None where its names are lost. Or why it is left alone."""

    table: OffsetsTable | None = None
    repeated: bool = False
    why_not: str = ""


def _read(storage: LocalStorage, pickle: str, members: Members, size: int) -> _Read:
    try:
        data = storage.read(pickle)
        first, last = (read_offsets(data, name=pickle, on_conflict=way, attributes=True) for way in ("skip", "replace"))
    except UnsafePickleError:
        return _Read(why_not="it names something to be called; look at it yourself")
    except OffsetsError:
        return _Read()
    except OSError as error:
        return _Read(why_not=in_words(error))
    if not data and len(members.table):
        return _Read()  # not one byte of it was written
    twice = (first.start != last.start) | (first.end != last.end)
    if not twice.any():
        return _Read(first, repeated=first.repeats > 0)
    fits, fits_last = (judge(members, table, size).fault == FITS for table in (first, last))
    both = np.flatnonzero(twice & fits & fits_last).tolist()
    if both:
        name = os.fsdecode(first.name(both[0]))
        return _Read(why_not=f"{name} has two ranges in it that fit, and nobody knows which of them is meant")
    start, end = (np.where(twice & fits_last, b, a) for a, b in ((first.start, last.start), (first.end, last.end)))
    states = [(last if of_last else first).state(row) for row, of_last in enumerate((twice & fits_last).tolist())]
    return _Read(first.moved(start, end).with_states(states), repeated=True)


def _conclude(plan: Plan, pickle: str, tar: str, old: _Read, new: OffsetsTable, left: dict[str, list[bytes]]) -> None:
    moved = 0
    if old.table is not None:
        moved = int(((old.table.start != new.start) | (old.table.end != new.end)).sum())
    if (moved or old.repeated) and (fault := new.unwritable()):
        plan.said.append(f"{pickle}: not mended: {fault[1]}")
        return
    if moved or old.repeated:
        plan.tables[pickle] = new
        plan.said.append(
            f"{pickle}: {_DONE} {counted(len(new), 'image')} as before, where the tar has them"
            + (f": {moved:,} at another place" if moved else "")
        )
    for why, names in left.items():
        shown = ", ".join(os.fsdecode(name) for name in names[:FEW]) + (", …" if len(names) > FEW else "")
        plan.said.append(f"{pickle}: {len(names):,} of its names {why} {tar}: not mended ({shown})")


@dataclass(frozen=True, slots=True)
class _Nameless:
    """A pickle that can't be read, and the tar that it alone refers to."""

    pickle: str
    tar: str
    members: Members

    @property
    def is_packed(self) -> bool:
        return bool(layout.labelled_by(self.pickle.rpartition("/")[0]))

    @property
    def dataset(self) -> str:
        folder = self.pickle.rpartition("/")[0]
        return folder.rpartition("/")[0] if self.is_packed else folder

    @property
    def shown(self) -> str:
        """Folder in which its names are shown."""
        return layout.shown_by(self.pickle)


def _conclude_nameless(project: Project, root: str, incomplete: set[str], plan: Plan) -> None:
    """What becomes of those that can't be read: of several of one folder, each may have had what the others have."""
    known, why_unknown = read_released(root)
    released = whole_of(known)
    for one in plan.nameless:
        others = [other for other in plan.nameless if other is not one and other.shown == one.shown]
        evidence = Evidence(project, one.dataset, incomplete, is_packed=one.is_packed)
        why_not = evidence.why_not
        if why_unknown:
            why_not = f"{why_unknown}, so it isn't known whether the images of {one.tar} had been removed"
        elif one.tar in released:
            why_not = f"the last image of {one.tar} had been removed"
        if why_not:
            plan.said.append(f"{one.pickle}: not mended: it can't be read, and {why_not}")
            continue
        doubtful = set().union(*(evidence.names_of(other.members) for other in others))
        table, left = nameless(one.members, evidence, shown_names(project, one.shown), doubtful)
        if table is None:
            text = f"not mended: it can't be read, and members of {one.tar} have one name: {left[''][0]}"
        elif not len(table):
            text = f"not mended: it can't be read, and of {one.tar} {_left_out(left)}"
        elif not left:
            text = f"{_DONE} all {counted(len(table), 'file')} of {one.tar}"
        else:
            kind, what = ("annotations", "image") if one.is_packed else ("images", "annotation")
            text = f"{_DONE} the {len(table):,} {kind} of {one.tar} that have an {what}; {_left_out(left)}"
        if table is not None and len(table):
            plan.tables[one.pickle] = table
            if not one.is_packed and (lost := _unknown(one, left, known.get(one.tar), evidence)):
                plan.left_out[one.pickle] = lost
                text += "; `blobdir offsets` writes entries for all members"
        plan.said.append(f"{one.pickle}: {text}")


def _unknown(one: _Nameless, left: dict[str, list[str]], known: Released | None, evidence: Evidence) -> int:
    """How many images are left out of which nothing says that they were removed, or are shown all the same."""
    table = one.members.table
    removed = known.ranges if known is not None else set()
    named = evidence.names_of(one.members)
    rows = [named[name][0] for why, names in left.items() if why != SHOWN for name in names]
    return sum((int(table.start[row]), int(table.end[row])) not in removed for row in rows)


def _left_out(left: dict[str, list[str]]) -> str:
    return "; ".join(
        f"{why.format(count=f'{len(names):,}')}: {', '.join(names[:FEW])}{', …' if len(names) > FEW else ''}"
        for why, names in left.items()
    )


def _backup(root: str, pickle: str) -> str:
    """A free name beside a pickle, which no reader takes for one."""
    folder, _, name = pickle.rpartition("/")
    when = time.strftime("%Y%m%d-%H%M%S")
    for number in range(1000):
        path = layout.join(folder, backup_name(name, when, number))
        if not os.path.lexists(os.path.join(root, path)):
            return path
    raise FileExistsError(f"{pickle}: there are a thousand backups of this second")
