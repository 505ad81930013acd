"""What is advised of a folder that can't be listed fits the reason."""

import errno
import os

import pytest
from project_factory import make_project

import blobdir
from blobdir.discovery.advice import for_unlisted
from blobdir.errors import ReadError
from blobdir.packing import add
from blobdir.sources.local import LocalStorage
from blobdir.verifying import verify

RIGHTS = "give yourself the right to read it"
FITS = {
    errno.EACCES: RIGHTS,
    errno.EPERM: RIGHTS,
    errno.ENAMETOOLONG: "shorter names",
    errno.ELOOP: "link in circles",
    errno.EIO: "its disk",
    errno.ESTALE: "mount what it lies on anew",
    errno.ENOTCONN: "mount what it lies on anew",
    errno.ENOTDIR: "put a folder there",
    errno.EOVERFLOW: "mend that and open",
}


@pytest.mark.parametrize("number", FITS, ids=errno.errorcode.get)
def test_the_advice_fits_the_reason(tmp_path, monkeypatch, number):
    root = make_project(tmp_path / "p", {"train/img/1.jpg": b"1" * 600, "test/img/2.jpg": b"2" * 600})
    (root / "test/odd").mkdir()
    listed = LocalStorage._list

    def failing(self, path, follow_links):
        if path == "test/odd":
            raise OSError(number, os.strerror(number))
        return listed(self, path, follow_links)

    monkeypatch.setattr(LocalStorage, "_list", failing)
    with pytest.warns(blobdir.errors.BlobdirWarning):
        project = blobdir.open_project(root, index="none")
    [defect] = [defect for defect in project.defects if defect.code == "folder-unreadable"]
    assert FITS[number] in defect.message
    assert (RIGHTS in defect.message) is (number in (errno.EACCES, errno.EPERM))
    assert defect.message.endswith("open the project again")


@pytest.mark.parametrize("number", [number for number in FITS if number != errno.ENOTDIR], ids=errno.errorcode.get)
@pytest.mark.parametrize("face", ["open", "verify", "add"])
def test_the_project_itself(tmp_path, monkeypatch, number, face):
    """What can't be listed may well be a project: nobody is told to give another folder."""
    root = make_project(tmp_path / "p", {"train/img/1.jpg": b"1" * 600})
    listed = LocalStorage._list

    def failing(self, path, follow_links):
        if not path:
            raise OSError(number, os.strerror(number))
        return listed(self, path, follow_links)

    monkeypatch.setattr(LocalStorage, "_list", failing)
    calls = {
        "open": lambda: blobdir.open_project(root, index="none"),
        "verify": lambda: verify(root),
        "add": lambda: add(root, "train", [tmp_path / "new.jpg"]),
    }
    (tmp_path / "new.jpg").write_bytes(b"new")
    with pytest.raises(ReadError, match=f"{root}: can't be listed: {os.strerror(number)}; .* open it again") as caught:
        calls[face]()
    assert FITS[number].removesuffix(" and open") in str(caught.value)


def test_a_path_that_is_too_long_for_the_system(tmp_path):
    root = make_project(tmp_path / "p", {"train/img/1.jpg": b"1" * 600})
    held = os.open(root / "train", os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 240, dir_fd=held)
        below = os.open("d" * 240, os.O_RDONLY, dir_fd=held)
        os.close(held)
        held = below
    os.close(held)
    with pytest.warns(blobdir.errors.BlobdirWarning):
        project = blobdir.open_project(root, index="none")
    [defect] = [defect for defect in project.defects if defect.code == "folder-unreadable"]
    assert "File name too long); give it, or the folders above it, shorter names and open" in defect.message


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        (NotADirectoryError(errno.ENOTDIR, "no list"), "make the server list it"),
        (FileNotFoundError(errno.ENOENT, "it isn't there"), "take away what leads to it"),
        (PermissionError("403"), RIGHTS),
    ],
)
def test_the_reason_may_be_behind_another_error(reason, word):
    error = ReadError("http://host/p/ann: no")
    error.__cause__ = reason
    assert word in for_unlisted(error)
    assert word in for_unlisted(reason)
