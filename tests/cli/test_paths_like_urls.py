"""What exists on this machine is a path, whatever it's called: each command takes it for one."""

from __future__ import annotations

import os
import shutil

import pytest
from changes.samples import files_of, numbered, packed, picture, write

import blobdir
from blobdir.cli.app import run
from blobdir.cli.completing import paths_in_project
from blobdir.filenames import is_path
from blobdir.mounting.control import absolute
from blobdir.sources import LocalStorage, open_storage

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")

SPELT = ["a::b", "./a::b", "a::b/", "s3::x/c::d", "./c://x", "/a::b", "/c://x"]
"""Relative, and absolute: those are below the test's folder."""
COMMANDS = {
    "add": ["add", "P", "train", "T/new/n.png"],
    "remove": ["remove", "P", "train/a001.png"],
    "move": ["move", "P", "train/a001.png", "elsewhere"],
    "compact": ["compact", "P"],
    "merge": ["merge", "P", "T/q"],
    "merge into": ["merge", "T/q", "P"],
    "subset": ["subset", "P", "T/s"],
    "subset to": ["subset", "T/q", "N"],
    "verify": ["verify", "P"],
    "repair": ["verify", "--repair", "P"],
    "info": ["info", "P"],
    "ls": ["ls", "P/train/img"],
    "tree": ["tree", "P"],
    "stats": ["stats", "P"],
    "preview": ["preview", "P", "-o", "T/sheet.png"],
    "cat": ["cat", "P/train/img/a001.png"],
    "cp": ["cp", "P/train/img/a001.png", "T/out.png"],
    "cp to": ["cp", "-r", "T/q", "N"],
    "unpack": ["unpack", "P", "T/out"],
    "unpack to": ["unpack", "T/q", "N"],
    "pack": ["pack", "F", "T/packed"],
    "pack to": ["pack", "T/new", "N"],
    "push": ["push", "P", "memory://T/pushed"],
    "index": ["index", "P", "--beside"],
    "offsets": ["offsets", "--replace", "P/B", "-o", "P/train"],
    "export": ["export", "erofs", "P", "-o", "T/image"],
}


def full(tmp_path, spelt):
    return str(tmp_path) + spelt if spelt.startswith("/") else spelt


@pytest.fixture(params=SPELT)
def project(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = full(tmp_path, request.param)
    os.makedirs(os.path.dirname(os.path.abspath(place)), exist_ok=True)
    packed(tmp_path / "p", files_of(numbered(2)), shard_images=10)
    packed(tmp_path / "q", files_of(numbered(2, 20, "val")))
    write(tmp_path / "p/train/img/loose.png", picture("loose"))
    os.rename(tmp_path / "p", os.path.abspath(place))
    return place


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_takes_it_for_a_path(project, command, tmp_path, capfd):
    place = project.rstrip("/")
    folder = os.path.dirname(place) or "."
    write(tmp_path / "new/n.png", picture("n"))
    shutil.copytree(tmp_path / "new", f"{folder}/plain::x")
    blob = next(name for name in os.listdir(f"{os.path.abspath(place)}/blob") if name.endswith(".tar"))
    meant = {"P": project, "N": f"{folder}/new::x", "F": f"{folder}/plain::x", "P/B": f"{place}/blob/{blob}"}
    starts = {"T/": f"{tmp_path}/", "memory://T/": f"memory://{tmp_path}/", "P/": f"{place}/"}
    words = [meant.get(word, word) for word in COMMANDS[command]]
    for start, full_start in starts.items():
        words = [full_start + word.removeprefix(start) if word.startswith(start) else word for word in words]
    status = run(words)
    assert status == 0, capfd.readouterr().err
    assert "N" not in COMMANDS[command] or os.path.exists(meant["N"])


def test_so_does_all_that_opens_one(project):
    here = os.path.abspath(project)
    assert is_path(project)
    assert isinstance(open_storage(project), LocalStorage)
    assert blobdir.open_project(project)["train"].names == ["a001.png", "a002.png", "loose.png"]
    assert absolute(project) == here
    place = project.rstrip("/")
    assert paths_in_project(f"{place}/train/img/a") == [f"{place}/train/img/a001.png", f"{place}/train/img/a002.png"]


@pytest.mark.parametrize(
    "url", ["s3://b/k", "simplecache::s3://b/k", "zip::/data/x.zip", "a::b", "c://x", "blobdir://train::/data/x::y"]
)
def test_urls_are_none(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.makedirs("s3:/b/k")
    os.makedirs("c:/x")
    assert not is_path(url)
    assert absolute(url) == url


@pytest.mark.parametrize("url", ["o::p", "o::p/q.png", "out::d", "out::d.png", "o://p", "out://d", "o::memory://p"])
@pytest.mark.parametrize(
    "command",
    [("cp", "p/train/img/a001.png"), ("cp", "-r", "p/train"), ("unpack", "p"), ("pack", "plain"), ("ls",), ("info",)],
    ids=" ".join,
)
def test_a_url_of_no_backend_is_a_wrong_use(command, url, tmp_path, monkeypatch, capfd):
    """Whether it's one letter or more, and whether something is to be read or made there."""
    monkeypatch.chdir(tmp_path)
    packed(tmp_path / "p", files_of(numbered(1)))
    write(tmp_path / "plain/n.png", picture("n"))
    before = sorted(os.listdir())
    assert run([*command, url]) == 2
    assert "Protocol not known: o" in capfd.readouterr().err
    assert sorted(os.listdir()) == before
