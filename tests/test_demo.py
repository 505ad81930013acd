"""The demo project inside the package."""

from __future__ import annotations

import json
import tarfile

import blobdir.demo


def test_files() -> None:
    root = blobdir.demo.path()
    assert json.loads((root / "meta.json").read_text())["classes"]
    assert sorted(p.name for p in (root / "blob").iterdir()) == ["digits-a.tar", "digits-b.tar"]
    assert len(list(root.glob("**/ann/*.json"))) == 60
    assert (root / "train" / "datasets" / "hard" / "digits-b_offsets.pkl").is_file()
    members = 0
    for blob in (root / "blob").iterdir():
        with tarfile.open(blob) as tar:
            members += len(tar.getnames())
    assert members + len(list((root / "test" / "img").iterdir())) == 60


def test_is_small() -> None:
    assert sum(p.stat().st_size for p in blobdir.demo.path().rglob("*") if p.is_file()) < 400_000
