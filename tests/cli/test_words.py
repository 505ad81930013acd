"""What commands say: nothing when they're to be quiet, near names of what isn't known, one thing as one, no binary."""

from __future__ import annotations

import json
import os
import pty

import pytest
from changes.samples import META, annotation, box, packed, picture, write

import blobdir
from blobdir.cli.app import run
from blobdir.cli.output import Bars
from blobdir.verifying import verify

CLASSES = META | {
    "classes": [{"title": "cat", "shape": "any", "color": "#FF0000"}],
    "tags": [{"name": "sunny", "value_type": "none", "color": "#00FF00"}],
}
QUIET = {
    "add": ["add", "p", "train", "new.png"],
    "remove": ["remove", "p", "train/a.png"],
    "move": ["move", "p", "train/a.png", "val"],
    "compact": ["compact", "p"],
    "merge": ["merge", "p", "other"],
    "cp": ["cp", "p/train/img/a.png", "copy.png"],
    "cp of a folder": ["cp", "-r", "p/train", "copies"],
    "unpack": ["unpack", "p", "out"],
    "pack": ["pack", "source", "out"],
    "pack to a bucket": ["pack", "source", "memory://quiet/pack"],
    "push": ["push", "p", "memory://quiet/push"],
    "subset": ["subset", "p", "out"],
    "offsets": ["offsets", "blob.tar"],
    "index": ["index", "p"],
    "index beside": ["index", "--beside", "p"],
    "export": ["export", "erofs", "p", "-o", "p.erofs"],
    "preview": ["preview", "p", "-o", "sheet.png"],
    "cache warm": ["cache", "warm", "p"],
    "cache clear": ["cache", "clear"],
    "verify": ["verify", "p"],
}


@pytest.fixture
def base(tmp_path, monkeypatch):
    packed(tmp_path / "p", {"train/a.png": picture(1), "train/b.png": picture(2)})
    packed(tmp_path / "other", {"more/c.png": picture(3)})
    for root in ("p", "other"):
        write(tmp_path / root / "meta.json", json.dumps(CLASSES).encode())
    write(tmp_path / "source/d/a.png", picture(4))
    write(tmp_path / "source/d/e/a.png", picture(5))
    write(tmp_path / "new.png", picture(6))
    write(tmp_path / "blob.tar", next((tmp_path / "p/blob").glob("*.tar")).read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("what", QUIET)
def test_quiet(base, capfd, what):
    command, *rest = QUIET[what]
    at = [command, rest.pop(0)] if command in ("cache", "export") else [command]
    status = run([*at, "-q", *rest])
    assert (status, *capfd.readouterr()) == (0, "", "") or (what, status) == ("cache warm", 2)


ONE = {
    "offsets": (["offsets", "--filter", "a.png", "blob.tar"], "1 member,"),
    "cp": (["cp", "p/train/img/a.png", "copy.png"], "1 file, "),
    "add": (["add", "p", "train", "new.png"], "1 image added"),
    "remove": (["remove", "p", "train/a.png"], "1 image removed"),
    "subset": (["subset", "p", "out", "--glob", "train/a.png"], "1 image (1 of train), 1 blob"),
    "merge": (["merge", "p", "other"], "1 image in 1 blob"),
    "unpack": (["unpack", "other", "out"], "3 files, "),
}


@pytest.mark.parametrize("what", ONE)
def test_one_is_one(base, capfd, what):
    command, said = ONE[what]
    assert run(command) == 0
    assert said in "".join(capfd.readouterr())


NEAR = {
    "a dataset": (["subset", "p", "out", "--dataset", "trian"], "near it: train"),
    "a dataset in capitals": (["subset", "p", "out", "--dataset", "TRAIN"], "near it: train"),
    "a class": (["subset", "p", "out", "--class", "catt"], "near it: cat"),
    "a tag": (["subset", "p", "out", "--tag", "sunnny"], "near it: sunny"),
    "a dataset of fetch": (["fetch", "memory://near/p", "out", "--dataset", "trian"], "near it: train"),
    "a class of fetch": (["fetch", "memory://near/p", "out", "--class", "Cat"], "near it: cat"),
}


@pytest.mark.parametrize("what", NEAR)
def test_near_names(base, capfd, what):
    if "fetch" in what:
        assert run(["push", "-q", "--delete", "p", "memory://near/p"]) == 0
    command, said = NEAR[what]
    assert run(command) == 2
    assert said in capfd.readouterr().err


def test_near_names_of_annotations(base):
    write(base / "p/train/ann/a.png.json", annotation(objects=[box("Cat")], tags=[{"name": "suny"}]))
    said = [text for finding in verify(base / "p").findings for text in finding.examples]
    assert any("class 'Cat' isn't in meta.json (near it: cat)" in text for text in said)
    assert any("tag 'suny' isn't in meta.json (near it: sunny)" in text for text in said)
    with pytest.raises(KeyError, match="near it: train"):
        blobdir.open_project(base / "p")["trian"]


@pytest.mark.parametrize(("path", "status"), [("p/train/img/a.png", 2), ("p/meta.json", 0)])
def test_no_binary_on_a_terminal(base, monkeypatch, path, status):
    ours, theirs = pty.openpty()
    try:
        with open(theirs, "w", encoding="utf-8", closefd=False) as terminal:
            monkeypatch.setattr("sys.stdout", terminal)
            assert run(["cat", path]) == status
            terminal.flush()
        os.set_blocking(ours, False)
        try:
            shown = os.read(ours, 1 << 16)
        except BlockingIOError:
            shown = b""
        assert (b"PNG" in shown, b"classes" in shown) == (False, status == 0)
    finally:
        os.close(ours)
        os.close(theirs)


def test_progress_counts_what_it_counts(monkeypatch):
    seen = []

    class Bar:
        n = 0

        def __init__(self, **options):
            seen.append((options["desc"], options["unit"]))

        def update(self, by):
            pass

        def close(self):
            pass

    monkeypatch.setattr("tqdm.tqdm", Bar)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with Bars(unit="B", scale=True) as bars:
        for step in ("packing", "writing annotations", "copying files", "reading blobs", "annotations", "decoding"):
            bars(step, 1, 2)
    assert dict(seen) == {
        "packing": "B",
        "writing annotations": " images",
        "copying files": " files",
        "reading blobs": "B",
        "annotations": " annotations",
        "decoding": " images",
    }


def test_progress_moves_while_a_blob_is_written(tmp_path, monkeypatch):
    """By one process too, if it has much to write."""
    from blobdir.packing import PackOptions, pack, packer

    monkeypatch.setattr(packer, "_MUCH_BYTES", 1 << 20)
    for i in range(10):
        write(tmp_path / f"source/d/{i:02}.png", picture(1) + bytes(8 << 20))
    told = []
    report = pack(
        tmp_path / "source", tmp_path / "p", PackOptions(processes=1), progress=lambda *said: told.append(said)
    )
    assert len(report.blobs) == 1
    assert all(0 <= done <= total for _, done, total in told)
    done = [done for step, done, total in told if step == "packing" and done < total]
    assert done == sorted(done)


@pytest.mark.parametrize(("content", "is_text"), [(b"a\0b", False), (b"\xff\xd8", False), (b"a \\0 b \xc3\xa4", True)])
def test_no_binary_goes_to_a_terminal(tmp_path, monkeypatch, capfdbinary, content, is_text):
    root = tmp_path / "p"
    (root / "train/img").mkdir(parents=True)
    (root / "meta.json").write_text("{}")
    (root / "train/img/note.txt").write_bytes(content)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert run(["cat", str(root / "train/img/note.txt")]) == (0 if is_text else 2)
    assert capfdbinary.readouterr().out == (content if is_text else b"")
