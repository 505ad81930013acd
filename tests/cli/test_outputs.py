"""Outputs that are closed, or that nobody reads any more."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import pytest
from changes.looking import faults
from changes.samples import files_of, numbered, packed, picture, write, write_files

PROGRAM = [sys.executable, "-c", "from blobdir.cli import main; main()"]
SPEAKING = {
    "ls": ["ls", "-R", "p"],
    "tree": ["tree", "p"],
    "cat": ["cat", "p/meta.json"],
    "info": ["info", "--json", "p"],
    "stats": ["stats", "p"],
    "verify": ["verify", "p"],
    "help": ["--help"],
    "help of a command": ["pack", "--help"],
    "pack": ["pack", "source", "made"],
    "subset": ["subset", "p", "made"],
    "add": ["add", "p", "train", "new.png"],
    "offsets": ["offsets", "--replace", "-o", "offsets", "blob.tar"],
}


@pytest.fixture
def base(tmp_path):
    packed(tmp_path / "p", numbered(3))
    write_files(tmp_path / "source", files_of(numbered(3)))
    write(tmp_path / "new.png", picture("new"))
    (tmp_path / "offsets").mkdir()
    (tmp_path / "blob.tar").write_bytes(next((tmp_path / "p/blob").glob("*.tar")).read_bytes())
    return tmp_path


def shell(command, closed, cwd):
    words = " ".join(map(shlex.quote, [*PROGRAM, *command]))
    return subprocess.run(
        ["/bin/sh", "-c", f"{words} {closed}"], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", SPEAKING)
def test_an_output_that_is_closed(base, command, closed):
    """What is said goes nowhere, and not into a file that was opened in its place."""
    done = shell(SPEAKING[command], closed, base)
    assert done.returncode == 0
    assert done.stderr == "" or "Traceback" not in done.stderr
    if command in ("pack", "subset"):
        assert faults(base / "made") == []
    assert faults(base / "p") == []


@pytest.mark.parametrize("command", SPEAKING)
def test_a_reader_that_has_gone(base, command):
    read, written = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [*PROGRAM, *SPEAKING[command]], cwd=base, stdout=written, stderr=subprocess.PIPE, timeout=60, check=False
        )
    finally:
        os.close(written)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize(("closed", "status"), [(">&-", 3), ("2>&-", 3)])
def test_an_error_has_its_status(base, closed, status):
    assert shell(["ls", "nothing"], closed, base).returncode == status
