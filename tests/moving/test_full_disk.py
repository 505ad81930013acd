"""A disk that is full while a project is fetched: what, how much is missing, what next; and then it goes on."""

import os
import re
import subprocess

import pytest
from folder_bucket import files, image

import blobdir
from blobdir.cli.app import run
from blobdir.errors import PackError
from blobdir.moving import fetch, push

URL = "tested://up"


@pytest.fixture
def disk(tmp_path):
    """A disk of one megabyte, and how it gets larger."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=False)
    if made.returncode:
        pytest.skip("only root can mount a small disk")
    yield place, lambda: subprocess.run(["mount", "-o", "remount,size=64m", place], check=True)
    subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
def there(bucket, tmp_path):
    """A project of three megabytes, without checksums: nothing but what is written itself can tell that it's right."""
    plain = tmp_path / "plain"
    (plain / "train/img").mkdir(parents=True)
    for i in range(3):
        (plain / "train/img" / f"{i}.jpg").write_bytes(image(i) + os.urandom(1 << 20))
    blobdir.packing.pack(plain, tmp_path / "p")
    (tmp_path / "p/blob/SHA256SUMS").unlink()
    push(tmp_path / "p", URL)
    return bucket


def test_fetch(there, disk):
    place, enlarge = disk
    with pytest.raises(PackError) as caught:
        fetch(URL, place / "got")
    said = str(caught.value)
    assert re.search(
        r"got\.fetching/blob/.*\.tar: No space left on device \([\d,]+ bytes are still to be written, ", said
    )
    assert said.endswith(f"are free); make room; what is done stays in {place / 'got.fetching'}: --resume goes on")
    assert not (place / "got").exists()
    enlarge()
    fetch(URL, place / "got", resume=True)
    assert files(place / "got") == files(there)


@pytest.mark.parametrize("command", ["subset", "pack", "cp"])
def test_all_say_it_alike(tmp_path, there, disk, capsys, command):
    place, _ = disk
    target = str(place / "made")
    arguments = {
        "subset": ["subset", tmp_path / "p", target, "--blobs", "copy"],
        "pack": ["pack", tmp_path / "plain", target],
        "cp": ["cp", "-r", tmp_path / "p", target],
    }[command]
    assert run([str(one) for one in arguments]) == 7
    said = capsys.readouterr().err
    assert "No space left on device" in said
    next_step = {"subset": "nothing was left behind", "pack": "--resume goes on", "cp": "make room"}[command]
    assert next_step in said
    assert not (place / "made/meta.json").exists() or command == "cp"
