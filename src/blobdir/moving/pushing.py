"""From a folder to any storage: nobody ever takes half of it for a project, and nothing old is left there."""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blobdir.discovery import DiscoveryOptions, layout
from blobdir.errors import BusyError, NotAProjectError, ReadError, UsageError
from blobdir.moving.comparing import Comparison
from blobdir.moving.defects import check_source
from blobdir.moving.localfiles import LocalFiles, list_project
from blobdir.moving.notes import PushNotes
from blobdir.moving.pushplan import PushPlan, check_target, make_plan
from blobdir.moving.remotefiles import PUSHING, RemoteFiles, files_of, is_own, list_keys, list_remote
from blobdir.moving.uploading import Uploader
from blobdir.opening import BESIDE_FILE, build, save_beside, warn_of_defects
from blobdir.packing.locking import hold
from blobdir.packing.provenance import Provenance
from blobdir.projectlock import changes
from blobdir.sources import LocalStorage, RemoteOptions, RemoteStorage, open_storage

if TYPE_CHECKING:
    from collections.abc import Iterable

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

    Nobody changes the project meanwhile. What happens in which order, and what readers see: `blobdir.moving.pushplan`.

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
        Upload a damaged project as it is, byte for byte, and leave out links that lead out of it, or nowhere. Without,
        any defect is an error, and nothing is touched.
    index : bool
        Put an index beside it, with which opening is one request.
    remote : RemoteOptions, optional
    progress : callable, optional
        Told of bytes.

    Raises
    ------
    UsageError, NotAProjectError
        A change that was cut off counts too, for a dry run; else it's finished first.
    PackError
        The project has a defect.
    BusyError
        Somebody is changing the project, or another process of this machine is pushing to this place.
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
    if not isinstance(there, RemoteStorage):
        raise UsageError(f"{url}: is on this machine; use cp -r")
    if dry_run and changes(here.root)[1]:
        raise UsageError(f"{root}: a change was cut off; any command that changes it finishes that first")
    with hold(root), PushNotes(there.place) as notes:
        local = list_project(here)
        defects = check_source(here, local, with_defects=with_defects)
        for path in local.files:
            there.full(path)
        found = list_remote(there)
        removing = force or delete
        check_target(there.url, local, found, resume=resume, removing=removing)
        comparison = Comparison(here, there, notes, checksum=checksum, progress=progress)
        same = set() if force else comparison.same(local.files, found)
        plan = make_plan(local, found, same, there, removing=removing)
        uploader = Uploader(here, there, notes, progress)
        report = uploader.report
        report.left_out, report.emptied, report.defects = local.left_out, local.emptied, defects
        report.skipped = plan.same
        report.new, report.replaced, report.deleted = plan.new, plan.replaced, plan.removed
        if dry_run:
            report.files = len(plan.new) + len(plan.replaced)
            report.size = sum(local.files[path].size for path in (*plan.new, *plan.replaced))
        else:
            notes.keep_only(same)
            _Push(uploader, there, local, found, plan).run(index=index)
    report.seconds = time.perf_counter() - began
    return report


class _Push:
    """One push, step by step; a step that fails is the last one."""

    def __init__(
        self, uploader: Uploader, there: RemoteStorage, here: LocalFiles, found: RemoteFiles, plan: PushPlan
    ) -> None:
        self._uploader = uploader
        self._there = there
        self._here = here
        self._found = found
        self._plan = plan
        self._mark = json.dumps(
            {
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "token": secrets.token_hex(8),
            }
        ).encode()

    def run(self, *, index: bool) -> None:
        plan, uploader = self._plan, self._uploader
        uploader.expect(sum(self._here.files[path].size for path in (*plan.new, *plan.replaced)))
        if plan.changes and not self._change():
            return
        keys = list_keys(self._there)
        if not self._is_there(files_of(self._there, keys)):
            return
        self._remove_own(will_follow=index)
        if index:
            keys = [key for key in keys if not is_own(key[0])]
            built = build(self._there.as_listed(keys), DiscoveryOptions())
            uploader.report.index = save_beside(built, self._there)
            if not uploader.report.defects:  # else they are known
                warn_of_defects(self._there, built)
        elif self._there.has_folders:
            uploader.remove_folders([layout.STATE_DIR])

    def _change(self) -> bool:
        plan, changed = self._plan, [*self._plan.new, *self._plan.replaced]
        early = dict.fromkeys(plan.early_blobs(self._found))
        stale = plan.stale_pickles(self._found)
        kept = set(changed)
        again = [path for path in stale if path in self._here.files and path not in kept]
        if not self._upload(early):
            return False
        self._begin()
        done = (
            self._remove(stale)
            and self._upload(path for path in plan.blobs(changed) if path not in early)
            and self._remove(plan.blobs(plan.removed))
            and self._remove(plan.others(plan.removed))
            and self._uploader.remove(plan.markers)
            and self._upload(plan.others(changed))
        )
        if not done:
            return False
        self._uploader.remove_folders(plan.old_folders)
        self._uploader.make_folders(plan.folders)
        if not self._upload([*plan.pickles(changed), *again]):
            return False
        self._check_mark()
        return self._upload([layout.META])

    def _is_there(self, now: RemoteFiles) -> bool:
        """Whether all is there under its name: some servers change names, or take two for one."""
        for path, file in self._here.files.items():
            found = now.files.get(path)
            if found is None or found.size not in (-1, file.size):
                what = "isn't there" if found is None else f"has {found.size:,} of {file.size:,} bytes there"
                self._uploader.report.failed[path] = f"{what} after all was uploaded"
        return not self._uploader.report.failed

    def _upload(self, paths: Iterable[str]) -> bool:
        return self._uploader.upload({path: self._here.files[path] for path in paths})

    def _remove(self, paths: Iterable[str]) -> bool:
        return self._uploader.remove({path: self._there.full(path) for path in paths})

    def _begin(self) -> None:
        """From here on what is there isn't taken for a project, until all of it is there."""
        self._there.write(PUSHING, self._mark)
        for path in (BESIDE_FILE, layout.META):
            if (path in self._found.files or path in self._found.own) and not self._remove([path]):
                raise ReadError(
                    f"{self._there.url}/{path}: {self._uploader.report.failed[path]}; it is of what was there, and "
                    "must not stay while that is changed"
                )

    def _check_mark(self) -> None:
        try:
            mine = self._there.read(PUSHING) == self._mark
        except FileNotFoundError:
            mine = False
        if not mine:
            raise BusyError(
                f"{self._there.url}: somebody else is pushing to it at the same time; when only one is, push again "
                "with --delete"
            )

    def _remove_own(self, *, will_follow: bool) -> None:
        """Remove what isn't the project's: the note that it's being pushed, an index of what was there, leftovers."""
        own = [path for path in self._found.own if not (will_follow and path == BESIDE_FILE)]
        own += [PUSHING] if self._plan.changes and PUSHING not in own else []
        if not self._remove(own):
            path, error = next(iter(self._uploader.report.failed.items()))
            raise ReadError(f"{self._there.url}/{path}: {error}; it would be believed, so remove it")
