"""The tools that people use, on the mount, against the same run on plain files."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from blob_builder import Builder
from mounting.engines import KERNEL
from PIL import Image

import blobdir


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A project of pictures with annotations, and its plain twin."""
    folder = tmp_path_factory.mktemp("pictures")
    project, plain = Builder(folder / "project"), Builder(folder / "plain")
    source = np.random.default_rng(3)
    for dataset in ("train", "test"):
        members = {}
        for i in range(120):
            data = io.BytesIO()
            Image.fromarray(source.integers(0, 255, (24, 32, 3), np.uint8)).save(data, "JPEG")
            members[f"p{i:03d}.jpg"] = data.getvalue()
            text = json.dumps({"size": {"height": 24, "width": 32}, "objects": [{"classTitle": f"c{i % 7}"}]})
            for builder in (project, plain):
                builder.loose(f"{dataset}/ann/p{i:03d}.jpg.json", text.encode())
        project.offsets(dataset, dataset, project.tar(dataset, members))
        for name, data in members.items():
            plain.loose(f"{dataset}/img/{name}", data)
    blob_time = (project.root / "blob/train.tar").stat().st_mtime_ns
    for root in (project.root, plain.root):
        for path in root.rglob("*"):
            if path.is_file():
                os.utime(path, ns=(blob_time, blob_time))
                path.chmod(0o444)
    return folder


@pytest.fixture(scope="module", params=["native", "fusepy", KERNEL])
def mounted(pictures, request, tmp_path_factory):
    with blobdir.mount(pictures / "project", tmp_path_factory.mktemp("mnt"), engine=request.param) as path:
        yield path


@pytest.fixture
def plain(pictures):
    return pictures / "plain"


def output(command, folder):
    done = subprocess.run(
        command, cwd=folder, capture_output=True, timeout=60, check=False, env={**os.environ, "LC_ALL": "C"}
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "find . -type f | sort",
        "find . -name '*.jpg' -size -2 -printf '%p %s %m %T@\\n' | sort",
        "find . -type f -print0 | sort -z | xargs -0 sha256sum",
        "find . -type f -print0 | sort -z | xargs -0 git hash-object --no-filters",
        "tar cf - --sort=name --owner=0 --group=0 --mode=0444 --mtime=@0 . | sha256sum",
        "grep -rc classTitle . | sort",
        "grep -rl c3 . | sort",
        "ls -R . | sort",
        "du -a --apparent-size --block-size=1 train/img/*.jpg",
        "wc -c train/*/* | sort",
        "cat train/img/*.jpg test/ann/* | md5sum",
        "dd if=train/img/p007.jpg bs=100 skip=2 count=3 status=none | md5sum",
        "file -b train/img/p000.jpg 2>/dev/null || head -c 20 train/img/p000.jpg | md5sum",
        "stat -c '%n %s %a %Y %F' train/img/* train/ann/*",
        "test -r meta.json && ! test -w meta.json -a $(id -u) -ne 0; tail -c 7 train/ann/p001.jpg.json",
        "sort train/ann/*.json | uniq -c | sort",
        "cmp train/img/p000.jpg train/img/p001.jpg",
        "ls nothing/here",
    ],
)
def test_the_same_output(mounted, plain, command):
    assert output(["bash", "-c", command], mounted) == output(["bash", "-c", command], plain)


def test_diff(mounted, plain):
    assert output(["diff", "-r", str(plain), str(mounted)], "/") == (0, b"", b"")


def test_rsync(mounted, plain, tmp_path):
    code, said, _ = output(["rsync", "-n", "-a", "--checksum", "--itemize-changes", f"{mounted}/", f"{plain}/"], "/")
    assert code == 0
    assert [line for line in said.splitlines() if not line.startswith(b".d")] == []
    assert output(["rsync", "-a", f"{mounted}/", f"{tmp_path}/copy/"], "/")[0] == 0
    assert output(["diff", "-r", str(plain), str(tmp_path / "copy")], "/")[0] == 0


def test_copies(mounted, plain, tmp_path):
    assert output(["cp", "-r", "--preserve=timestamps", str(mounted), str(tmp_path / "cp")], "/")[0] == 0
    shutil.copytree(mounted, tmp_path / "copytree")
    for copy in ("cp", "copytree"):
        assert output(["diff", "-r", str(plain), str(tmp_path / copy)], "/") == (0, b"", b"")
    stat = (tmp_path / "cp/train/img/p000.jpg").stat()
    assert stat.st_mtime_ns == (mounted / "train/img/p000.jpg").stat().st_mtime_ns


def test_python(mounted, plain):
    assert sorted(p.relative_to(mounted) for p in mounted.rglob("*")) == sorted(
        p.relative_to(plain) for p in plain.rglob("*")
    )
    for path in (plain / "train/img").iterdir():
        ours = mounted / "train/img" / path.name
        with Image.open(ours) as a, Image.open(path) as b:
            assert np.array_equal(np.asarray(a), np.asarray(b))
        with open(ours, "rb") as file:
            assert hashlib.file_digest(file, "sha256").digest() == hashlib.sha256(path.read_bytes()).digest()
        assert np.array_equal(np.fromfile(ours, np.uint8), np.fromfile(path, np.uint8))
        assert np.array_equal(np.memmap(ours, np.uint8, "r"), np.fromfile(path, np.uint8))


class Pictures:
    """A dataset for torch."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted((folder / "train/img").iterdir())

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int):
        with Image.open(self.paths[i]) as image:
            annotation = json.loads((self.paths[i].parent.parent / "ann" / f"{self.paths[i].name}.json").read_text())
            return np.asarray(image).copy(), annotation["objects"][0]["classTitle"]


def test_dataloader(mounted, plain):
    torch_data = pytest.importorskip("torch.utils.data")

    def epoch(folder):
        loader = torch_data.DataLoader(Pictures(folder), batch_size=8, num_workers=4)
        return [(images.numpy(), classes) for images, classes in loader]

    ours, theirs = epoch(mounted), epoch(plain)
    assert len(ours) == 15
    for (a, classes_a), (b, classes_b) in zip(ours, theirs, strict=True):
        assert np.array_equal(a, b)
        assert list(classes_a) == list(classes_b)


def test_tables(mounted, plain):
    duckdb, pandas = pytest.importorskip("duckdb"), pytest.importorskip("pandas")
    query = (
        "select objects[1].classTitle as title, count(*) from read_json_auto('{}/*/ann/*.json') group by 1 order by 1"
    )
    assert duckdb.sql(query.format(mounted)).fetchall() == duckdb.sql(query.format(plain)).fetchall()

    def frame(folder):
        paths = sorted((folder / "train/ann").glob("*.json"))
        return pandas.concat(pandas.read_json(path, typ="series").to_frame().T for path in paths)

    assert frame(mounted).equals(frame(plain))
