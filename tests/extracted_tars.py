"""What GNU tar makes of a tar in a folder, and what blobdir shows of it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
import warnings
from pathlib import Path

import blobdir
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
