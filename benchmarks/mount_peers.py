"""Ways to have the images of a project as files: blobdir's engines and their peers. Each mounts, and takes it away."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import blobdir
from benchmarks.peers import here, program_path
from benchmarks.stores import ratarmount_index
from blobdir.erofs.attach import mount_image
from blobdir.erofs.attach import unmount as unmount_image
from blobdir.erofs.gate import judge, look
from blobdir.erofs.images import write_image
from blobdir.erofs.syscalls import FilesystemContext, attach_mount
from blobdir.opening import open_tree

DEADLINE_S = 600
CACHES = Path("/proc/sys/vm/drop_caches")


@dataclass(frozen=True)
class MountPeer:
    """A way to have the images as files.

    Attributes
    ----------
    who : str
    mount : callable
        Mounts at a folder; returns when files can be read.
    unmount : callable
        Takes it away again.
    inside : str
        The folder of the images below the mountpoint; absolute where nothing is mounted.
    archives : list of Path
        Where the bytes lie: read to have them in the page cache.
    peer : str
        Its name in `benchmarks.peers.PEERS`.
    ours, headline : bool
        See `benchmarks.measure.Figure`.
    """

    who: str
    mount: Callable[[Path], object]
    unmount: Callable[[Path], object]
    inside: str = ""
    archives: list[Path] = field(default_factory=list)
    peer: str = ""
    ours: bool = False
    headline: bool = False

    @contextlib.contextmanager
    def mounted(self) -> Iterator[tuple[Path, float]]:
        """Mount at a new folder; gives the folder of the images, and how long mounting took, in seconds."""
        place = Path(tempfile.mkdtemp(prefix="blobdir-benchmark-"))
        try:
            began = time.perf_counter()
            self.mount(place)
            try:
                os.stat(place / self.inside)  # some return before they answer
                seconds = time.perf_counter() - began
                yield place / self.inside, seconds
            finally:
                self.unmount(place)
        finally:
            place.rmdir()

    def warm(self) -> None:
        """Have the archives in the page cache."""
        for archive in self.archives:
            for file in sorted(archive.iterdir()) if archive.is_dir() else [archive]:
                with open(file, "rb", buffering=0) as stream:
                    while stream.read(1 << 20):
                        pass


def mount_peers(project: Path, plain: Path) -> list[MountPeer]:
    """Those that are here, for a project of one dataset ``train`` and one blob ``shard``, and its plain files."""
    peers = blobdir_engines(project)
    if here("mkfs.erofs"):
        packed = erofs_image(plain)
        peers.append(
            MountPeer("mkfs.erofs", lambda at: mount_erofs(packed, at), _lazily, "train/img", [packed], "mkfs.erofs")
        )
    squashed = squashfs_image(plain) if here("mksquashfs") else plain
    if here("mksquashfs") and here("kernel squashfs"):
        command = ["mount", "-t", "squashfs", "-o", "loop,ro", str(squashed)]
        peers.append(MountPeer("kernel squashfs", _by(*command), unmount, "", [squashed], "kernel squashfs"))
    if here("mksquashfs") and here("squashfuse_ll"):
        command = [str(program_path("squashfuse_ll")), str(squashed)]
        peers.append(MountPeer("squashfuse_ll", _by(*command), unmount, "", [squashed], "squashfuse_ll"))
    if here("ratarmount"):
        peers.append(ratarmount(project / "blob/shard.tar"))
    filesystem = subprocess.run(["stat", "-f", "-c", "%T", plain], capture_output=True, text=True, check=True)
    who = f"plain files on {filesystem.stdout.strip().replace('ext2/ext3', 'ext4')}"
    peers.append(MountPeer(who, lambda _: forget_names(), lambda _: None, str(plain), [plain]))
    return peers


def blobdir_engines(project: Path) -> list[MountPeer]:
    """Blobdir's engines that can run here, by the command."""
    blobs = sorted((project / "blob").glob("*.tar"))
    peers = [_engine(project, "native", blobs, "", headline=True)]
    if here("kernel engine"):
        peers.append(_engine(project, "kernel", blobs, "kernel engine", headline=True))
        if judge(look()).backing == "file":
            image = write_image(open_tree(project), project.with_name(f"{project.name}.erofs")).path
            mount = lambda place: mount_image(image, str(place), backing="loop")  # noqa: E731
            peers.append(
                MountPeer(
                    "blobdir kernel, loop devices", mount, _lazily, "train/img", blobs, "kernel engine", ours=True
                )
            )
    if here("fusepy"):
        peers.append(_engine(project, "fusepy", blobs, "fusepy"))
    return peers


def _engine(project: Path, engine: str, blobs: list[Path], peer: str, *, headline: bool = False) -> MountPeer:
    command = [str(Path(sys.executable).with_name("blobdir")), "mount", "-q", "--engine", engine, str(project)]
    return MountPeer(
        f"blobdir {engine}",
        _by(*command),
        lambda place: blobdir.umount(place),
        "train/img",
        blobs,
        peer,
        ours=True,
        headline=headline,
    )


def ratarmount(tar: Path) -> MountPeer:
    """With its index kept in a file, which its first mount makes."""
    command = [str(program_path("ratarmount")), "--index-file", str(ratarmount_index(tar)), str(tar)]
    return MountPeer("ratarmount", _by(*command), unmount, "", [tar], "ratarmount")


def _by(*command: str) -> Callable[[Path], object]:
    def mount(place: Path) -> None:
        done = subprocess.run([*command, str(place)], capture_output=True, text=True, check=False, timeout=DEADLINE_S)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} {place}: {done.stdout}{done.stderr}")

    return mount


def unmount(place: Path) -> None:
    """Take a mount away; another try where something still looks at it."""
    for _ in range(100):
        if subprocess.run(["umount", place], check=False, capture_output=True, timeout=DEADLINE_S).returncode == 0:
            return
        time.sleep(0.05)
    raise RuntimeError(f"{place} can't be unmounted")


def _lazily(place: Path) -> None:
    unmount_image(str(place), lazy=True)


def forget_names() -> None:
    """Drop inodes and dentries; the pages of files stay, as those of archives do."""
    os.sync()
    CACHES.write_text("2")


def forget_everything() -> None:
    """Drop the page cache too."""
    os.sync()
    CACHES.write_text("3")


def mount_erofs(image: Path, place: Path) -> None:
    """An EROFS image by the same system calls as the kernel engine's, so that both have a file below them."""
    with FilesystemContext("erofs") as context:
        context.set("source", str(image))
        mount = context.mount()
    attach_mount(mount, str(place))
    os.close(mount)


def squashfs_image(plain: Path) -> Path:
    """The plain files in squashfs, nothing compressed; without fragments, of which a random read would read 128 KiB."""
    image = plain.with_suffix(".squashfs")
    if not image.exists():
        part = image.with_suffix(".part")
        options = ["-noI", "-noD", "-noF", "-noX", "-no-fragments", "-no-progress", "-quiet", "-noappend"]
        command = [str(program_path("mksquashfs")), plain, part, *options]
        subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE_S)
        part.rename(image)
    return image


def erofs_image(plain: Path) -> Path:
    """The plain files in EROFS, not compressed, as deep as in the project: each component of a path costs."""
    image = plain.with_suffix(".erofs")
    if not image.exists():
        part = image.with_suffix(".part")
        part.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(dir=plain.parent) as stage:
            (Path(stage) / "train").mkdir()
            shutil.copytree(plain, f"{stage}/train/img", copy_function=os.link)
            command = [str(program_path("mkfs.erofs")), "--quiet", part, stage]
            subprocess.run(command, check=True, timeout=DEADLINE_S, capture_output=True)
        part.rename(image)
    return image


def memory_of(place: Path) -> int:
    """Bytes of all processes whose command names a mountpoint and of their children, shared pages counted in parts.

    0 where no process serves it.
    """
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        try:
            if pid != os.getpid() and os.fsencode(place) in (folder / "cmdline").read_bytes().split(b"\0"):
                total += _proportional(folder)
        except OSError:  # it has ended
            continue
    return total


def _proportional(folder: Path) -> int:
    for line in (folder / "smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
