"""Images as files: written beside their place and renamed, and used again as long as they are true."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from blobdir.discovery.inputs import COARSE_TICK_NS, TICK_NS
from blobdir.erofs.contents import COPIED, FILES_ONLY, SYMLINK, UNREADABLE, ImageOptions, collect
from blobdir.erofs.identity import FORMAT, VERSION, Identity, identify, open_blob, read_identity, write_identity
from blobdir.erofs.plan import plan_image
from blobdir.erofs.structures import BLOCK
from blobdir.erofs.writer import ImageWriter
from blobdir.errors import BlobdirError, IndexFormatError, SourceChangedError, UsageError
from blobdir.index import FIRST_BLOB
from blobdir.index.store import digest
from blobdir.index.table import COLUMNS
from blobdir.opening.keeping import cache_folder, make_own_if_cached, trim_if_cached
from blobdir.sources import Stat, on_this_machine
from blobdir.temporary import clean, new_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from blobdir.discovery import DiscoveryOptions
    from blobdir.erofs.contents import Contents
    from blobdir.sources import Storage
    from blobdir.tree import Tree

    Progress = Callable[[str, int, int], None]

_TRIES = 3  # loose files may change while they are copied


@dataclass(frozen=True, slots=True)
class Image:
    """An image on disk.

    Attributes
    ----------
    path : Path
    size : int
        Bytes.
    rows : int
        Files and directories in it.
    copied_bytes : int
        Bytes of loose files, and of members that the kernel can't read where they lie.
    unreadable : list of str
        Why parts of it can't be read; empty for a project without defects.
    built : bool
        Whether it was written now, rather than used again.
    """

    path: Path
    size: int
    rows: int
    copied_bytes: int
    unreadable: list[str]
    built: bool


def image_folder(storage: Storage, discovery: DiscoveryOptions) -> Path:
    """Where images of a project are kept: in the user's cache folder, beside its index.

    Never in the project itself: it could be somebody else's, and an image is something that the kernel trusts.
    """
    return cache_folder(storage, discovery, "erofs")


def prepare(
    tree: Tree,
    folder: Path,
    options: ImageOptions | None = None,
    *,
    check: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> Image:
    """An image of a project as it is now: the one that is kept in `folder` if it's still true, else a new one.

    Parameters
    ----------
    tree : Tree
    folder : Path
        Where images of this project are kept; see `image_folder`.
    options : ImageOptions, optional
    check : callable, optional
        See `write_image`.
    progress : callable, optional

    Raises
    ------
    UsageError, SourceChangedError
        See `write_image`.
    """
    options = options or ImageOptions()
    key = hashlib.sha256(json.dumps(_shaping(options), sort_keys=True).encode()).hexdigest()[:16]
    path = folder / f"{key}.erofs"
    if is_true(path, tree, options):
        return Image(path, path.stat().st_size, len(tree.index), 0, [], built=False)
    make_own_if_cached(folder)
    written = write_image(tree, path, options, check=check, progress=progress)
    trim_if_cached(folder)
    return written


def fingerprint(tree: Tree, options: ImageOptions) -> str:
    """Of everything that shapes an image but the files themselves."""
    header = tree.index.header.to_json()
    del header["built_ns"]  # an index built again from the same files gives the same image
    for record in (*header["blobs"], *header["inputs"]):
        del record["digest"]  # is there or not, by when it was built
    columns = {column: digest(getattr(tree.index, column)) for column in COLUMNS if column != "slots"}
    body = json.dumps([FORMAT, VERSION, header, _shaping(options), columns], sort_keys=True)
    return hashlib.blake2b(body.encode("utf-8", "surrogateescape"), digest_size=32).hexdigest()


def _shaping(options: ImageOptions) -> dict[str, Any]:
    """The options that make another image; a bound that wasn't met doesn't."""
    return {key: value for key, value in asdict(options).items() if key != "max_copy_bytes"}


def is_true(path: Path, tree: Tree, options: ImageOptions) -> bool:
    """Whether an image is there and says what the project is now: its blobs, and every loose file."""
    try:
        found = os.stat(path)
        identity = load_identity(path)
    except (OSError, IndexFormatError):
        return False
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        return False  # whoever could write it could have the kernel read anything
    if identity.fingerprint != fingerprint(tree, options) or not tree.storage.directory:
        return False
    storage = on_this_machine(tree.storage, FILES_ONLY)
    try:
        for blob in identity.blobs:
            open_blob(storage, blob)
    except (OSError, BlobdirError):
        return False
    return next(identity.changed(storage.root), None) is None


def load_identity(path: Path) -> Identity:
    """What an image was made from.

    Raises
    ------
    FileNotFoundError, IndexFormatError
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return read_identity(fd, str(path))
    finally:
        os.close(fd)


def write_image(
    tree: Tree,
    path: Path,
    options: ImageOptions | None = None,
    *,
    for_copies: bool = False,
    check: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> Image:
    """Write an image. One that is there is replaced as a whole: who has it mounted keeps the old one.

    Parameters
    ----------
    tree : Tree
    path : Path
    options : ImageOptions, optional
    for_copies : bool
        Whether it may be mounted with copies of the blobs, as on another machine: then each of their headers is read.
    check : callable, optional
        Called before the image gets its name, with what to do then: what it raises keeps it from that.
    progress : callable, optional

    Raises
    ------
    UsageError
        The project can't be shown by the kernel, and why; or there isn't enough room.
    SourceChangedError
        A blob was replaced since the project was opened, or loose files go on changing.
    OSError
        The folder can't be written. Nothing is left behind.
    """
    options = options or ImageOptions()
    for left in range(_TRIES - 1, -1, -1):
        try:
            return _write(tree, path, options, progress, for_copies=for_copies, check=check)
        except SourceChangedError:
            if not left:
                raise
    raise AssertionError("unreachable")


def _write(
    tree: Tree,
    path: Path,
    options: ImageOptions,
    progress: Progress | None,
    *,
    for_copies: bool,
    check: Callable[[str], None] | None,
) -> Image:
    contents = _settled(tree, options)
    plan = plan_image(tree.index, contents)
    identity = _identify(tree, contents, options, for_copies=for_copies)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _check_room(path.parent, plan.blocks * BLOCK)
    clean(path.parent)
    # As private as what it holds: only the owner may read it. The kernel reads it as the one who mounts.
    with new_file(path.parent, 0o600) as (temporary, fd):
        writer = ImageWriter(fd, tree, contents, plan, uuid=identity.uuid(), progress=progress)
        writer.write()
        writer.seal()
        size = write_identity(fd, identity, plan.blocks * BLOCK)
        os.fsync(fd)
        if check is not None:
            check("nothing was written; try again")
        os.rename(temporary, path)
    _sync_folder(path.parent)
    copied = int(contents.size[(contents.kind == COPIED) | (contents.kind == SYMLINK)].sum())
    return Image(path, size, len(contents), copied, identity.unreadable, built=True)


def _settled(tree: Tree, options: ImageOptions) -> Contents:
    """What goes into an image, looked at a tick of the clock after the last change: later ones have another time."""
    contents, looked_ns = collect(tree, options), time.time_ns()
    state = contents.state[contents.state["size"] >= 0]
    for tick_ns in (TICK_NS, COARSE_TICK_NS):
        times = state["ctime_ns"][(state["ctime_ns"] % 1_000_000_000 == 0) == (tick_ns == COARSE_TICK_NS)]
        if len(times) and looked_ns - tick_ns < int(times.max()) <= looked_ns:
            time.sleep(tick_ns / 1e9)
            return collect(tree, options)
    return contents


def _identify(tree: Tree, contents: Contents, options: ImageOptions, *, for_copies: bool) -> Identity:
    storage = on_this_machine(tree.storage, FILES_ONLY)
    state = contents.state
    if for_copies:
        state = state.copy()
        state["inode"] = state["ctime_ns"] = 0
    blobs = []
    for record in contents.devices:
        try:
            source = storage.open(record.path, Stat("file", record.size, record.mtime_ns))
        except FileNotFoundError as error:
            raise SourceChangedError(f"{record.path}: was removed after the project was opened") from error
        blobs.append(identify(source, record.path, for_copies=for_copies))
    return Identity(
        fingerprint=fingerprint(tree, options),
        root=storage.root,
        follow_links=storage.follow_links,
        rows=len(contents),
        blobs=blobs,
        unreadable=_reasons(tree, contents),
        state=state,
        state_paths=contents.state_paths,
    )


def _reasons(tree: Tree, contents: Contents) -> list[str]:
    """Why rows can't be read, each reason once."""
    index = tree.index
    rows = contents.kind == UNREADABLE
    if not rows.any():
        return []
    reasons = {tree.blobs.refusal(n) for n in set(index.source[rows].tolist()) if n >= FIRST_BLOB}
    reasons |= {defect.message for defect in index.header.defects if defect.severity == "error"}
    return sorted(reasons - {""})


def _check_room(folder: Path, wanted: int) -> None:
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise UsageError(
            f"{folder}: the image takes {wanted:,} bytes, and {free:,} are free there; choose another folder"
        )


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
