"""Mounts with a deadline and an end, projects with everything that an image must hold, and fsck.erofs as a judge."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path

import pytest
from erofs_cases import build_wide, open_now

from blobdir.erofs.attach import Mounted, mount_image, unmount
from blobdir.erofs.gate import judge, look
from blobdir.erofs.images import load_identity, write_image
from blobdir.errors import MountError

RUN = {"capture_output": True, "text": True, "timeout": 60}


@pytest.fixture(scope="session")
def tmp_path_factory(disk_path_factory):  # type: ignore[no-untyped-def]
    return disk_path_factory


@pytest.fixture
def tmp_path(disk_path_factory, request):  # type: ignore[no-untyped-def]
    return disk_path_factory.mktemp(re.sub(r"\W", "_", request.node.name))


@pytest.fixture(scope="session")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with everything. Not to be changed."""
    return build_wide(tmp_path_factory.mktemp("wide") / "project")


@pytest.fixture(scope="session")
def fsck(tmp_path_factory: pytest.TempPathFactory, wide: Path) -> Callable[..., None]:
    """A function that lets fsck.erofs judge an image: all metadata, and all data of all files."""
    program = os.environ.get("FSCK_EROFS") or shutil.which("fsck.erofs")
    if program is None:
        pytest.skip("fsck.erofs isn't installed (Debian: erofs-utils)")

    def check(image: Path) -> None:
        identity = load_identity(image)
        devices = [f"--device={identity.root}/{blob.path}" for blob in identity.blobs]
        result = subprocess.run([program, "--extract", *devices, image], check=False, **RUN)
        assert result.returncode == 0, result.stdout + result.stderr
        assert "<E>" not in result.stderr

    probe = write_image(open_now(wide), tmp_path_factory.mktemp("fsck") / "probe.erofs").path
    result = subprocess.run([program, probe], check=False, **RUN)
    if "blksize 512 isn't supported" in result.stderr:
        pytest.skip(f"{program} is older than 1.6: it doesn't know blocks of 512 bytes")
    return check


@pytest.fixture(params=["file", "loop"])
def backing(request: pytest.FixtureRequest) -> str:
    """Both ways in which the kernel can read an image."""
    verdict = judge(look())
    if verdict.backing == "none" or (request.param == "file" and verdict.backing != "file"):
        pytest.skip("; ".join(verdict.reasons))
    return str(request.param)


@pytest.fixture
def mount(tmp_path: Path) -> Generator[Callable[..., Path]]:
    """A function that mounts an image and gives the mountpoint; everything is unmounted at the end."""
    verdict = judge(look())
    if verdict.backing == "none":
        pytest.skip("; ".join(verdict.reasons))
    mounts: list[str] = []

    def mount_one(image: Path, backing: str = "auto", **options: str) -> Path:
        point = tmp_path / f"mount {len(mounts)}"
        point.mkdir()
        made: Mounted = mount_image(image, str(point), backing="loop" if backing == "loop" else "auto", **options)
        mounts.append(str(point))
        assert backing in ("auto", made.backing)
        return point

    yield mount_one
    for point in mounts:
        with suppress(MountError):
            unmount(point, lazy=True)
