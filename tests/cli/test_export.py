"""``blobdir export erofs`` as a user meets it."""

import subprocess
import sys

import pytest

from blobdir.erofs.dump import dump_image
from blobdir.erofs.images import load_identity

PROGRAM = [sys.executable, "-c", "from blobdir.cli import main; main()", "export", "erofs"]


def call(*arguments):
    return subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, check=False, timeout=60)


def test_export(digits, tmp_path):
    image = tmp_path / "digits.erofs"
    done = call(digits, "-o", image)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{image}: 502 entries, ")
    assert len(list(dump_image(image))) == 502
    assert load_identity(image).root == str(digits)
    assert call(digits, "-o", image).returncode == 2  # it's there
    assert call(digits, "-o", image, "--replace", "-q").stdout == ""


def test_owner_and_modes(digits, tmp_path):
    image = tmp_path / "digits.erofs"
    done = call(digits, "-o", image, "--uid", "1", "--gid", "2", "--umask", "027", "--private")
    assert done.returncode == 0
    lines = list(dump_image(image))
    assert lines[0].startswith("/ 040500 4 1:2 ")
    assert all(line.split()[1][-1] == "0" and line.split()[3] == "1:2" for line in lines)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["{digits}", "-o", "{tmp}/none/x.erofs"], 2, "no such folder"),
        (["{digits}", "-o", "{tmp}/x.erofs", "--copy-at-most", "1K"], 2, "more than the 1,024 that are allowed"),
        (["{digits}", "-o", "{tmp}/x.erofs", "--copy-at-most", "much"], 2, "a number of bytes"),
        (["{digits}", "-o", "{tmp}/x.erofs", "--umask", "9"], 2, "an octal number"),
        (["{tmp}/none", "-o", "{tmp}/x.erofs"], 3, "none"),
        (["{digits}"], 2, "--output"),
    ],
)
def test_bad_input(digits, tmp_path, arguments, status, message):
    done = call(*(argument.format(digits=digits, tmp=tmp_path) for argument in arguments))
    assert done.returncode == status
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read_is_named(digits_copy, tmp_path):
    next((digits_copy / "blob").glob("*.tar")).unlink()
    done = call(digits_copy, "-o", tmp_path / "x.erofs", "-q")
    assert done.returncode == 7
    assert "can't be read in it: " in done.stderr and "is missing" in done.stderr
