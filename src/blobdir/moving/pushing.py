"""From a folder to any storage: nobody ever takes half of it for a project, and nothing old is left there."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blobdir.discovery import layout
from blobdir.errors import BusyError, NotAProjectError, ReadError, UsageError
from blobdir.moving.around import refuse_inside
from blobdir.moving.claim import Claim
from blobdir.moving.comparing import Comparison
from blobdir.moving.defects import check_source
from blobdir.moving.finishing import Expected, finish
from blobdir.moving.localfiles import LocalFiles, changes_between, list_project
from blobdir.moving.notes import PushNotes
from blobdir.moving.pushplan import PushPlan, check_target, make_plan
from blobdir.moving.remotefiles import PUSHING, RemoteFiles, list_remote
from blobdir.moving.uploading import Uploader
from blobdir.opening import BESIDE_FILE, warn_of_defects
from blobdir.packing.locking import hold
from blobdir.packing.provenance import Provenance
from blobdir.packing.sound import CONFLICT
from blobdir.projectlock import changes
from blobdir.sources import LocalStorage, RemoteOptions, RemoteStorage, Stat, behind_backend, open_storage

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from blobdir.discovery import Progress
    from blobdir.moving.report import PushReport


def push(
    source: str | os.PathLike[str],
    url: str,
    *,
    storage_options: dict[str, Any] | None = None,
    resume: bool = False,
    force: bool = False,
    delete: bool = False,
    dry_run: bool = False,
    checksum: bool = False,
    follow_links: bool = False,
    with_defects: bool = False,
    index: bool = True,
    remote: RemoteOptions | None = None,
    progress: Progress | None = None,
) -> PushReport:
    """Copy a project from this machine to a storage.

    No command of blobdir changes the project meanwhile; what other programs change is noticed, and named. What happens
    in which order, and what readers see: `blobdir.moving.pushplan`.

    Parameters
    ----------
    source : path
        A blob project.
    url : str
        Where it goes; nothing may be there, unless with `resume`, `force` or `delete`.
    storage_options : dict, optional
    resume : bool
        Leave what is there already with the same content, see `blobdir.moving.comparing`.
    force : bool
        Upload everything, and remove what the project doesn't have.
    delete : bool
        Leave what is there with the same content, and remove what the project doesn't have.
    dry_run : bool
        Only say what would be done.
    checksum : bool
        Compare every byte, instead of versions, times and the backend's checksums.
    follow_links : bool
        Upload what symbolic links out of the project lead to; without, one is an error.
    with_defects : bool
        Upload a damaged project as it is, byte for byte, and leave out links that lead out of it, to what only blobs
        hold, or nowhere. Without, any defect is an error, and nothing is touched.
    index : bool
        Put an index beside it, with which opening is two requests.
    remote : RemoteOptions, optional
    progress : callable, optional
        Told of bytes.

    Raises
    ------
    UsageError, NotAProjectError
        `source` isn't a project, or `url` lies in another one. A change that was cut off counts too, for a dry run;
        else it's finished first.
    PackError
        The project has a defect, or a link to what only blobs hold.
    BusyError
        Somebody is changing the project, or is pushing to this place: see `blobdir.moving.claim`.
    ReadError, LinkError
        The storage can't be reached, or refuses; the project can't be read in full, or a link leads out of it.
    """
    began = time.perf_counter()
    root = Path(source)
    if not (root / layout.META).is_file():
        Provenance(os.fspath(root))  # says it more exactly where it is a part of one
        raise NotAProjectError(f"{root}: isn't a project: it holds no {layout.META}")
    here = LocalStorage(os.fspath(root), follow_links=follow_links)
    there = open_storage(url, options=storage_options, remote=remote)
    there = behind_backend(there, "is on this machine; use cp -r")
    if dry_run and changes(here.root)[1]:
        raise UsageError(f"{root}: a change was cut off; any command that changes it finishes that first")
    with hold(root, make=not dry_run), PushNotes(there.place) as notes:
        local = list_project(here)
        defects = check_source(here, local, with_defects=with_defects)
        for path in local.files:
            there.full(path)
        refuse_inside(there)
        found = list_remote(there)
        removing = force or delete
        check_target(there, local.files, found, resume=resume, removing=removing)
        comparison = Comparison(here, there, notes, checksum=checksum, progress=progress)
        same = set() if force else comparison.same(local.files, found)
        plan = make_plan(local, found, same, there, removing=removing)
        claim = Claim(there)
        uploader = Uploader(here, there, notes, progress, claim.look)
        report = uploader.report
        report.left_out, report.emptied, report.defects = local.left_out, local.emptied, defects
        report.skipped = plan.same
        report.new, report.replaced, report.deleted = plan.new, plan.replaced, [*plan.removed, *plan.odd]
        if dry_run:
            report.files = len(plan.new) + len(plan.replaced)
            report.size = sum(local.files[path].size for path in (*plan.new, *plan.replaced))
        else:
            notes.keep_only(same)
            _Push(uploader, claim, here, there, found, local, plan).run(index=index)
    report.seconds = time.perf_counter() - began
    return report


class _Push:
    """One push, step by step; a step that fails is the last one."""

    def __init__(
        self, uploader: Uploader, claim: Claim, here: LocalStorage, there: RemoteStorage, found: RemoteFiles,
        local: LocalFiles, plan: PushPlan,
    ) -> None:  # fmt: skip
        self._uploader = uploader
        self._here, self._there = here, there
        self._local, self._found = local, found
        self._plan = plan
        self._claim = claim

    def run(self, *, index: bool) -> None:
        plan, uploader = self._plan, self._uploader
        uploader.expect(sum(self._local.files[path].size for path in (*plan.new, *plan.replaced)))
        with self._claim as claim:
            if plan.changes or PUSHING in self._found.own:
                if not self._change():
                    return
            elif not self._is_still_here():
                return
            expected = Expected.of(self._local.files, self._local.empty, uploader.sent, self._found)
            built = finish(self._there, claim, expected, uploader, index=index)
        if built is not None and not uploader.report.defects:  # else they are known
            warn_of_defects(self._there, built, told=(CONFLICT,))

    def _change(self) -> bool:
        plan, changed, uploader = self._plan, [*self._plan.new, *self._plan.replaced], self._uploader
        is_whole = layout.META in self._found.files and PUSHING not in self._found.own
        early = dict.fromkeys(plan.early_blobs(self._found) if is_whole else [])
        stale = plan.stale_pickles(self._found)
        kept = set(changed)
        again = [path for path in stale if path in self._local.files and path not in kept]
        if not self._upload(early):
            return False
        self._claim.take(self._found)
        self._look_again(early)
        self._take_down()
        folders = [*plan.old_folders, *plan.folders]
        return (
            self._remove(stale)
            and self._upload(path for path in plan.blobs(changed) if path not in early)
            and self._remove(plan.blobs(plan.removed))
            and self._remove(plan.others(plan.removed))
            and self._step(plan.odd, lambda: uploader.remove(plan.odd))
            and self._step(plan.markers, lambda: uploader.remove(plan.markers))
            and self._upload(plan.others(changed))
            and self._step(folders, self._arrange_folders)
            and self._upload([*plan.pickles(changed), *again])
            and self._is_still_here()
            and self._upload([layout.META])
        )

    def _look_again(self, early: Collection[str]) -> None:
        """Make sure that the plan still holds, before anything is taken away by it."""
        now, sent = list_remote(self._there), self._uploader.sent
        files = self._found.files | {path: sent.get(path, self._found_as(path)) for path in early}
        then = Expected(files, others=set(now.folders), odd=set(self._found.odd))
        wrong = list(then.wrong(now, self._there))
        if not wrong:
            return
        named = {key.casefold() for key in layout.blob_keys(filter(layout.is_offsets, now.files)).values()}
        mine = {path: key.casefold() in named for path, key in layout.blob_keys(early).items() if path in now.files}
        is_sure = PUSHING not in self._found.own and not any(mine.values())
        if is_sure and self._remove(mine):  # else the mark stays: it was there, or nobody knows whose blob that is
            self._claim.give_back()
        raise BusyError(
            f"{self._there.url}: was changed by somebody else since it was listed: {wrong[0]}"
            f"{f' and {len(wrong) - 1:,} more' if len(wrong) > 1 else ''}; push again"
        )

    def _found_as(self, path: str) -> Stat:
        return Stat("file", self._local.files[path].size)

    def _take_down(self) -> None:
        """Have what is there look like no project, whoever looks at it, and whether or not it was there when listed."""
        for path in (BESIDE_FILE, layout.META):
            if not self._remove([path]):
                raise ReadError(
                    f"{self._there.url}/{path}: {self._uploader.report.failed[path]}; it is of what was there, and "
                    "must not stay while that is changed"
                )

    def _is_still_here(self) -> bool:
        """Whether the project is as it was listed, so that what was uploaded is one state of it."""
        now = list_project(self._here)
        now.leave_out(self._local.in_blobs)
        self._uploader.report.failed.update(changes_between(self._local, now))
        return not self._uploader.report.failed

    # -- steps ------------------------------------------------------------------------------------------------------

    def _step(self, what: Collection[str], do: Callable[[], bool]) -> bool:
        """Do something to what is there, and make sure that nobody else has meanwhile."""
        if not what:
            return True
        self._claim.touched()
        done = do()
        if self._claim.held:
            self._claim.check()
        return done

    def _upload(self, paths: Iterable[str]) -> bool:
        files = {path: self._local.files[path] for path in paths}
        return self._step(files, lambda: self._uploader.upload(files))

    def _remove(self, paths: Iterable[str]) -> bool:
        keys = {path: self._there.full(path) for path in paths}
        return self._step(keys, lambda: self._uploader.remove(keys))

    def _arrange_folders(self) -> bool:
        self._uploader.remove_folders(self._plan.old_folders)
        self._uploader.make_folders(self._plan.folders)
        return True
