"""Completion: in a real interactive bash, on a terminal of its own."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from blob_builder import Builder

from blobdir.cli.app import run
from blobdir.cli.completing import CLASSES, SHOWN, paths_in_project

WAIT_S = 20
HOME, END = "\x01", "\x05"  # Ctrl-A, Ctrl-E


class Bash:
    """An interactive bash that has read ``blobdir completion bash``."""

    def __init__(self, folder):
        here = Path(sys.executable).parent
        environment = {**os.environ, "PATH": f"{here}:{os.environ['PATH']}", "PS1": "ready$ ", "TERM": "dumb"}
        self.master, terminal = pty.openpty()
        self.process = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-i"],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
        os.close(terminal)
        self.come = b""
        self.until("ready$ ")
        self.type("source <(blobdir completion bash); echo so\\urced\n")
        self.until("sourced")
        self.until("ready$ ")

    def type(self, text):
        os.write(self.master, text.encode())

    def until(self, text):
        """What comes up to a text, with it."""
        deadline = time.monotonic() + WAIT_S
        while text.encode() not in self.come:
            ready, _, _ = select.select([self.master], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"no {text!r} within {WAIT_S} s, but {self.come!r}"
            self.come += os.read(self.master, 4096)
        before, _, self.come = self.come.partition(text.encode())
        return before.decode() + text

    def complete(self, typed):
        """The words of the line after Tab; bash prints them, with a command that is put before the line."""
        self.type(f"blobdir {typed}\t{HOME}printf 'WORD<%s>\\n' {END}; echo do''ne\n")
        words = re.findall(r"WORD<(.*)>\r?\n", self.until("done\r\n"))
        self.until("ready$ ")
        return words[1:]

    def close(self):
        os.close(self.master)
        self.process.wait(WAIT_S)


@pytest.fixture
def project(tmp_path):
    made = Builder(tmp_path / "le mons")
    entries = made.tar("a", {"a": b"one", "b": b"two", "c": b"three"})
    names = [b"one.jpg", b"with space.jpg", b"with,comma.jpg"]
    made.offsets("train", "a", [(name, *entry[1:]) for name, entry in zip(names, entries, strict=True)])
    return made.root


def test_in_bash(project):
    bash = Bash(project.parent)
    try:
        assert bash.complete("umo") == ["umount"]
        assert bash.complete("mount --eng") == ["mount", "--engine"]
        assert bash.complete("mount --engine nat") == ["mount", "--engine", "native"]
        assert bash.complete(r"ls le\ mons/tr") == ["ls", "le mons/train/"]  # and no space follows
        assert bash.complete(r"cat le\ mons/train/img/o") == ["cat", "le mons/train/img/one.jpg"]
        assert bash.complete(r"cat le\ mons/train/img/with\ ") == ["cat", "le mons/train/img/with space.jpg"]
        assert bash.complete(r"cat le\ mons/train/img/with,") == ["cat", "le mons/train/img/with,comma.jpg"]
        assert bash.complete(r"offsets le\ mons/blo") == [
            "offsets",
            "le mons/blob/",
        ]  # bash's own, where we know nothing
    finally:
        bash.close()


def test_paths_are_those_of_the_project(project, monkeypatch):
    root = os.fspath(project)
    assert paths_in_project(f"{root}/train/img/w") == [
        f"{root}/train/img/{name}.jpg" for name in ("with space", "with,comma")
    ]
    assert paths_in_project(f"{root}/") == [f"{root}/meta.json", f"{root}/train/"]
    assert paths_in_project(f"{root}/blob/") == []
    assert paths_in_project(f"{root}/none/") == []
    assert paths_in_project("/nowhere/at/all") == []
    assert paths_in_project("s3://bucket/lemons/") == []
    monkeypatch.chdir(project / "train")
    assert paths_in_project("im") == ["img/"]


def test_very_long_lists_keep_what_they_have_in_common(tmp_path):
    made = Builder(tmp_path / "many")
    entries = made.tar("a", {f"x{i:05}": b"" for i in range(SHOWN + 500)})
    made.offsets("train", "a", [(b"x%05d.jpg" % i, *entry[1:]) for i, entry in enumerate(entries)])
    shown = paths_in_project(f"{made.root}/train/img/x")
    assert len(shown) == SHOWN
    assert shown[-1].endswith(f"x{SHOWN + 499:05}.jpg")


@pytest.mark.parametrize("shell", sorted(CLASSES))
def test_scripts(shell, capfd):
    assert run(["completion", shell]) == 0
    assert f"_BLOBDIR_COMPLETE={shell}_complete" in capfd.readouterr().out


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_paths(shell, project):
    """What their scripts ask, and the words that they get."""
    place = str(project).replace(" ", r"\ ")
    asked = {"_BLOBDIR_COMPLETE": f"{shell}_complete", "COMP_WORDS": rf"blobdir ls {place}/tr", "COMP_CWORD": "2"}
    if shell == "fish":
        asked |= {"COMP_WORDS": "blobdir ls", "COMP_CWORD": f"{place}/tr"}
    program = Path(sys.executable).with_name("blobdir")
    done = subprocess.run([program], env={**os.environ, **asked}, capture_output=True, text=True, check=True)
    assert f"{project}/train/" in done.stdout
