"""Blobs that become another project's too: the file that was checked, and nothing from outside."""

from __future__ import annotations

import errno
import os

import pytest

from blobdir.errors import LinkError, SourceChangedError, UsageError
from blobdir.packing import sharing
from blobdir.packing.sharing import copy_file, share_blob
from blobdir.sources import LocalStorage

DATA = b"tar" * 1000


@pytest.fixture
def storage(tmp_path):
    (tmp_path / "p/blob").mkdir(parents=True)
    (tmp_path / "p/store").mkdir()
    (tmp_path / "p/blob/a.tar").write_bytes(DATA)
    (tmp_path / "p/store/b.tar").write_bytes(DATA)
    (tmp_path / "p/blob/b.tar").symlink_to("../store/b.tar")
    (tmp_path / "secret").write_bytes(b"SECRET")
    (tmp_path / "p/blob/out.tar").symlink_to(tmp_path / "secret")
    return LocalStorage(str(tmp_path / "p"))


@pytest.mark.parametrize("how", ["link", "symlink", "copy", "auto"])
@pytest.mark.parametrize("name", ["a.tar", "b.tar"])
def test_ways(storage, tmp_path, how, name):
    path, target = f"blob/{name}", tmp_path / "target.tar"
    share_blob(storage, path, target, how, storage.stat(path))
    assert target.read_bytes() == DATA
    assert target.is_symlink() == (how == "symlink")
    assert os.path.samefile(target, tmp_path / "p" / path) == (how != "copy")
    if how == "symlink":
        assert os.readlink(target) == str((tmp_path / "p" / path).resolve())
    if how == "copy":
        assert target.stat().st_mtime_ns == storage.stat(path).mtime_ns


@pytest.mark.parametrize("how", ["link", "symlink", "copy", "auto"])
def test_nothing_from_outside(storage, tmp_path, how):
    target = tmp_path / "target.tar"
    with pytest.raises(LinkError, match="outside the project"):
        share_blob(storage, "blob/out.tar", target, how)
    assert not os.path.lexists(target)
    share_blob(LocalStorage(storage.root, follow_links=True), "blob/out.tar", target, how)
    assert target.read_bytes() == b"SECRET"


@pytest.mark.parametrize("how", ["link", "symlink", "copy", "auto"])
def test_what_was_opened_outside_is_not_taken_although_its_name_leads_inside_again(storage, tmp_path, how, monkeypatch):
    """Between opening and looking at the path, a link is put back."""
    opened = LocalStorage._descriptor

    def swapped(self, path, **options):
        try:
            return opened(self, path, **options)
        finally:
            os.unlink(tmp_path / "p/blob/out.tar")
            os.link(tmp_path / "p/blob/a.tar", tmp_path / "p/blob/out.tar")

    monkeypatch.setattr(LocalStorage, "_descriptor", swapped)
    with pytest.raises(LinkError):
        share_blob(storage, "blob/out.tar", tmp_path / "target.tar", how)
    assert not os.path.lexists(tmp_path / "target.tar")


@pytest.mark.parametrize("how", ["link", "symlink", "copy", "auto"])
def test_another_file_than_expected(storage, tmp_path, how):
    expected = storage.stat("blob/a.tar")
    other = tmp_path / "other"
    other.write_bytes(DATA + b"more")
    other.replace(tmp_path / "p/blob/a.tar")
    with pytest.raises(SourceChangedError):
        share_blob(storage, "blob/a.tar", tmp_path / "target.tar", how, expected)
    assert not os.path.lexists(tmp_path / "target.tar")


def test_one_that_grows_while_it_is_copied(storage, tmp_path, monkeypatch):
    def growing(fd, out, size):
        with open(tmp_path / "p/blob/a.tar", "ab") as file:
            file.write(b"more")
        return size

    monkeypatch.setattr(sharing, "_copy_bytes", growing)
    with pytest.raises(SourceChangedError, match="while it was copied"):
        share_blob(storage, "blob/a.tar", tmp_path / "target.tar", "copy")
    assert not os.path.lexists(tmp_path / "target.tar")


@pytest.mark.parametrize("without", ["copy_file_range", "/proc"])
def test_where_the_system_has_less(storage, tmp_path, monkeypatch, without):
    def refuse(*_args, **_options):
        raise OSError(95, "Operation not supported")

    if without == "copy_file_range":
        monkeypatch.setattr(os, "copy_file_range", refuse)
    else:
        monkeypatch.setattr(os, "readlink", refuse)
    share_blob(storage, "blob/a.tar", tmp_path / "copy.tar", "copy")
    share_blob(storage, "blob/a.tar", tmp_path / "link.tar", "link")
    assert (tmp_path / "copy.tar").read_bytes() == DATA == (tmp_path / "link.tar").read_bytes()


def test_where_no_hard_link_can_be(storage, tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(UsageError, match="--blobs symlink or copy"):
        share_blob(storage, "blob/a.tar", tmp_path / "link.tar", "link")
    share_blob(storage, "blob/a.tar", tmp_path / "auto.tar", "auto")
    assert (tmp_path / "auto.tar").read_bytes() == DATA


@pytest.mark.parametrize("how", ["link", "symlink", "copy", "auto"])
def test_nothing_is_replaced(storage, tmp_path, how):
    target = tmp_path / "target.tar"
    target.write_bytes(b"there")
    with pytest.raises((FileExistsError, UsageError)):
        share_blob(storage, "blob/a.tar", target, how)
    assert target.read_bytes() == b"there"


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_plain_files(storage, tmp_path, size):
    (tmp_path / "p/note").write_bytes(b"x" * size)
    copy_file(storage, "note", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"x" * size
    with pytest.raises(LinkError):
        copy_file(storage, "blob/out.tar", tmp_path / "other")


@pytest.mark.parametrize(
    ("number", "is_own", "said"),
    [
        (errno.EPERM, False, "another user's file"),
        (errno.EPERM, True, "same filesystem"),
        (errno.EXDEV, False, "same filesystem"),
    ],
)
def test_why_there_can_be_no_hard_link(storage, tmp_path, monkeypatch, number, is_own, said):
    def refused(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refused)
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner if is_own else owner + 1)
    with pytest.raises(UsageError, match=said):
        share_blob(storage, "blob/a.tar", tmp_path / "target.tar", "link")
