"""``blobdir cache`` shows what is kept, and clears it."""

import json
import time

import pytest
from project_factory import make_project

from blobdir import open_project
from blobdir.cli.app import run
from blobdir.opening import choosing, keeping


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, "cache_root", lambda: tmp_path / "cache")
    monkeypatch.setattr(choosing, "STORE_ROWS", 1)
    roots = [make_project(tmp_path / f"p{i}", {"train/img/a.jpg": b"a"}) for i in range(2)]
    time.sleep(0.03)
    for root in roots:
        open_project(root)
    folder = tmp_path / "cache/erofs" / ("0" * 32)
    folder.mkdir(parents=True)
    (folder / f"{0:016}.erofs").write_bytes(bytes(5000))
    return tmp_path / "blocks"


def shown(capsys, kept):
    capsys.readouterr()
    assert run(["cache", "info", "--json", "--cache-dir", str(kept)]) == 0
    found = json.loads(capsys.readouterr().out)
    return found["indexes"]["count"], found["images"]["count"], found["images"]["size"]


def test_info(capsys, kept):
    assert shown(capsys, kept) == (2, 1, 5000)
    assert run(["cache", "info", "--cache-dir", str(kept)]) == 0
    assert "indexes of 2 projects" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "left"),
    [([], (0, 0, 0)), (["--only", "indexes"], (0, 1, 5000)), (["--only", "images"], (2, 0, 0)),
     (["--only", "blocks"], (2, 1, 5000)), (["s3://bucket/x"], (2, 1, 5000))],
)  # fmt: skip
def test_clear(capsys, kept, arguments, left):
    assert run(["cache", "clear", "--cache-dir", str(kept), *arguments]) == 0
    assert shown(capsys, kept) == left


def test_what_has_no_url(kept):
    assert run(["cache", "clear", "--cache-dir", str(kept), "--only", "images", "s3://bucket/x"]) != 0
