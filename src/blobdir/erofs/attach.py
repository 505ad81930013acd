"""Mounting an image: every blob is looked at, then given to the kernel by descriptor: no name is trusted twice."""

from __future__ import annotations

import errno
import os
import resource
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from blobdir.erofs.gate import judge, look
from blobdir.erofs.identity import open_blob, read_identity
from blobdir.erofs.loops import LoopDevice
from blobdir.erofs.syscalls import MAX_STRING, FilesystemContext, attach_mount, detach_mount
from blobdir.errors import MountError
from blobdir.sources import LocalSource, LocalStorage
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from blobdir.erofs.gate import KernelFacts
    from blobdir.erofs.identity import Identity

FILESYSTEM: Final = "erofs"
_SPARE_DESCRIPTORS: Final = 64


@dataclass(frozen=True, slots=True)
class Mounted:
    """A mount that was made.

    Attributes
    ----------
    mountpoint : str
    image : str
    backing : {"file", "loop"}
        Whether the kernel reads the image and the blobs as files, or through loop devices.
    notes : tuple of str
        Why not a better backing.
    number : str
        ``major:minor`` of the filesystem, as in ``/proc/self/mountinfo``.
    """

    mountpoint: str
    image: str
    backing: Literal["file", "loop"]
    notes: tuple[str, ...]
    number: str


def mount_image(
    image: Path,
    mountpoint: str,
    *,
    root: str | None = None,
    backing: Literal["auto", "loop"] = "auto",
    facts: KernelFacts | None = None,
) -> Mounted:
    """Mount an image, read-only, without set-user-id programs and devices.

    Parameters
    ----------
    image : Path
    mountpoint : str
        A folder.
    root : str, optional
        Where the project is now, if it was moved since the image was made.
    backing : {"auto", "loop"}
        "auto": files where the kernel is known to be good at that, else loop devices.
    facts : KernelFacts, optional
        About this machine, if they are known already.

    Raises
    ------
    MountError
        This kernel can't, and why; or the kernel's own reason.
    SourceChangedError
        A blob isn't the one that the image was made for.
    IndexFormatError
        The image is damaged, or none of ours.
    """
    verdict = judge(facts or look())
    if verdict.backing == "none":
        raise MountError("; ".join(verdict.reasons), errno=errno.EPERM)
    with ExitStack() as held:
        fd = os.open(image, os.O_RDONLY | os.O_CLOEXEC)
        held.callback(os.close, fd)
        identity = read_identity(fd, str(image))
        held.enter_context(_descriptors(len(identity.blobs)))
        blobs = _open_blobs(identity, root)
        files = [fd, *(blob.fd for blob in blobs)]
        chosen: Literal["file", "loop"] = "loop" if backing == "loop" else verdict.backing
        notes = verdict.reasons
        mount = -1
        if chosen == "file":
            try:
                mount = _make([_name(image, fd), *(f"/proc/self/fd/{number}" for number in files[1:])])
            except OSError as error:
                if error.errno != errno.ENOTBLK:
                    raise _refused(image, mountpoint, error) from error
                chosen = "loop"
                notes = (
                    *notes,
                    f"{image}: the kernel, or the filesystem there, takes no files as backing",
                )
        if mount < 0:
            loops = [held.enter_context(closing(LoopDevice(number))) for number in files]
            try:
                mount = _make([loop.path for loop in loops])
            except OSError as error:
                raise _refused(image, mountpoint, error) from error
        held.callback(os.close, mount)
        if chosen == "file":
            _check_same(image, fd)
        found = os.fstat(mount).st_dev
        try:
            attach_mount(mount, mountpoint)
        except OSError as error:
            raise _refused(image, mountpoint, error) from error
    return Mounted(mountpoint, str(image), chosen, notes, f"{os.major(found)}:{os.minor(found)}")


def unmount(mountpoint: str, *, lazy: bool = False) -> None:
    """Unmount an image. Its loop devices go by themselves.

    Raises
    ------
    MountError
        It's in use, or nothing is mounted there.
    """
    try:
        detach_mount(mountpoint, lazy=lazy)
    except OSError as error:
        hint = {
            errno.EBUSY: "; close what uses it, or unmount lazily: it goes when they do",
            errno.EINVAL: ": nothing is mounted there",
        }.get(error.errno or 0, "")
        raise MountError(f"{mountpoint}: {error.strerror}{hint}") from error


def _make(paths: list[str]) -> int:
    with FilesystemContext(FILESYSTEM) as context:
        context.set("source", paths[0])
        for path in paths[1:]:
            context.set("device", path)
        context.flag("ro")
        context.flag("nouser_xattr")  # there are none, and ENOTSUP says so to programs that copy
        return context.mount()


def _name(image: Path, fd: int) -> str:
    """How the image is named to the kernel, which is what ``mount`` and ``df`` show from then on."""
    full = str(image.absolute())
    return full if len(os.fsencode(full)) <= MAX_STRING else f"/proc/self/fd/{fd}"


def _check_same(image: Path, fd: int) -> None:
    """The image is the one part that the kernel opened by name: make sure that it was this one."""
    opened, named = os.fstat(fd), os.stat(image)
    if (opened.st_dev, opened.st_ino) != (named.st_dev, named.st_ino):
        raise MountError(f"{image}: was replaced while it was mounted; try again")


def _open_blobs(identity: Identity, root: str | None) -> list[LocalSource]:
    storage = LocalStorage(root or identity.root, follow_links=identity.follow_links)
    return [open_blob(storage, blob) for blob in identity.blobs]


@contextmanager
def _descriptors(wanted: int) -> Iterator[None]:
    """Allow this process enough open files: each blob is one, and the kernel opens each again.

    Raises
    ------
    MountError
        It can't be allowed.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 3 * wanted + _SPARE_DESCRIPTORS + len(os.listdir("/proc/self/fd"))
    if soft == resource.RLIM_INFINITY or needed <= soft:
        yield
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, max(hard, needed)))
    except (ValueError, OSError):  # as in containers: root without CAP_SYS_RESOURCE
        raise MountError(
            f"mounting {counted(wanted, 'blob')} by the kernel takes {needed} open files, {hard} are allowed, and more "
            "can't be had here: raise the limit (ulimit -n), or take --engine native",
            errno=errno.EMFILE,
        ) from None
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _refused(image: Path, mountpoint: str, error: OSError) -> MountError:
    hints = {
        errno.EPERM: "; mounting takes CAP_SYS_ADMIN",
        errno.ENODEV: "; the kernel has no EROFS: modprobe erofs",
        errno.EOPNOTSUPP: "; the kernel is too old for this image",
        errno.EBADMSG: "; the image is damaged: make it anew",
        errno.ENOENT: f"; make the folder first: mkdir -p {mountpoint}",
        errno.ENOTDIR: "; mount on a folder",
    }
    said = f"{os.strerror(error.errno or 0)}" if not error.strerror else error.strerror
    return MountError(f"{image} on {mountpoint}: {said}{hints.get(error.errno or 0, '')}")
