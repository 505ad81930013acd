"""What is shown of a tar is what GNU tar makes of it in a folder."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from test_tars_and_tools import MANY, archives

import blobdir
from blobdir.errors import TarError
from blobdir.index import LINK

Shown = dict[bytes, tuple[str, bytes]]


def extracted(path: str, program: str = "tar") -> tuple[Shown, str]:
    """Files, links and folders after a tar was extracted, and what it says then."""
    folder = tempfile.mkdtemp(dir=os.path.dirname(path))
    try:
        done = subprocess.run([program, "-xf", path, "-C", folder], capture_output=True, check=False, timeout=60)
        subprocess.run(["chmod", "-R", "u+rwx", folder], check=False)
        found: Shown = {}
        root = os.fsencode(folder)
        for top, folders, files in os.walk(root):
            for name in (*folders, *files):
                full = os.path.join(top, name)
                kind = os.lstat(full).st_mode
                key = os.path.relpath(full, root)
                if stat.S_ISLNK(kind):
                    found[key] = "link", os.readlink(full)
                elif stat.S_ISDIR(kind):
                    found[key] = "folder", b""
                elif stat.S_ISREG(kind):
                    found[key] = "file", Path(os.fsdecode(full)).read_bytes()
        return found, os.fsdecode(done.stderr) if done.returncode else ""
    finally:
        shutil.rmtree(folder)


def shown(path: str) -> tuple[Shown, str]:
    """The same as blobdir has it, and all that it says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        view = blobdir.open_project(path, on_defect="ignore").tree
    found: Shown = {}
    for row in range(1, len(view.index)):
        name = view.index.path(row)
        if view.is_directory(row):
            found[name] = "folder", b""
        elif view.index.source[row] == LINK:
            found[name] = "link", view.link_target(row).encode("utf-8", "surrogateescape")
        else:
            found[name] = "file", view.read(row)
    return found, "; ".join(defect.message for defect in view.defects)


@settings(max_examples=MANY or 150, deadline=None, derandomize=not MANY)
@given(archives())
def test_shows_what_tar_extracts(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("odd", numbered=True)
    path = str(folder / "odd.tar")
    Path(path).write_bytes(data)
    expected, complaint = extracted(path)
    try:
        found, said = shown(path)
        if not complaint and "symbolic link" not in said:
            sparse = {name for name in expected if name.endswith(b"sparse")} if "sparse" in said else set()
            wanted = {name: what for name, what in expected.items() if name not in sparse}
            assert found == wanted or extracted(path, "bsdtar")[0] != expected  # they don't agree on all
    except TarError:
        assert complaint
    finally:
        shutil.rmtree(folder)
