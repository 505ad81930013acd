"""A folder behind a backend that can't be listed costs what is in it, and nothing else; who copies all is told."""

from contextlib import contextmanager

import pytest
from folder_bucket import Bucket, bucket
from project_factory import files_below, make_project
from web_pages import Pages

import blobdir
from blobdir.errors import IncompleteListingError, NotAProjectError
from blobdir.moving import fetch

__all__ = ["bucket"]

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")

FILES = {"train/img/1.jpg": b"1" * 600, "train/img/2.jpg": b"2" * 600, "train/ann/1.jpg.json": b"{}"}


class SomePages(Pages):
    """Of which one says something else."""

    other, status, kind = "", 0, "text/plain"

    def answer(self, request):
        if request.path != self.other:
            return super().answer(request)
        request.send_response(self.status)
        request.send_header("Content-Type", self.kind)
        request.send_header("Content-Length", "0")
        request.end_headers()
        return None


@contextmanager
def on_the_web(root, folder, status):
    with SomePages({f"p/{path}": data for path, data in files_below(root).items()}) as pages:
        pages.other, pages.status = f"/p/{folder}/".replace("//", "/"), status
        yield f"{pages.url}/p".replace("://", "://me:hunter2@")


@contextmanager
def behind_a_backend(root, folder, error):
    def before(what, path):
        if what == "ls" and path == f"p/{folder}".rstrip("/"):
            raise error

    Bucket.root, Bucket.before = str(root.parent), staticmethod(before)
    yield "tested://p"


WAYS = {
    "404": (on_the_web, 404),
    "410": (on_the_web, 410),
    "401": (on_the_web, 401),
    "403": (on_the_web, 403),
    "no page": (on_the_web, 200),
    "no right": (behind_a_backend, PermissionError(13, "denied")),
    "no folder": (behind_a_backend, NotADirectoryError(20, "no folder")),
}


@pytest.mark.parametrize("way", WAYS)
def test_one_folder_that_cant_be_listed(bucket, tmp_path, way):
    root = make_project(tmp_path / "p", FILES, loose=list(FILES))
    make, what = WAYS[way]
    with make(root, "train/ann", what) as url:
        project = blobdir.open_project(url, cache_size=0)
        assert [(d.code, d.path) for d in project.defects] == [("folder-unreadable", "train/ann")]
        assert "hunter2" not in project.defects[0].message
        assert {path: project.filesystem.cat_file(path) for path in list(FILES)[:2]} == dict(list(FILES.items())[:2])
        with pytest.raises(IncompleteListingError):
            project.filesystem.ls("train/ann")
        with pytest.raises(OSError, match=r".*/ann"):
            fetch(url, tmp_path / "got")
        assert not (tmp_path / "got").exists()


@pytest.mark.parametrize("way", WAYS)
def test_the_project_itself_cant_be_listed(bucket, tmp_path, way):
    root = make_project(tmp_path / "p", FILES, loose=list(FILES))
    make, what = WAYS[way]
    with make(root, "", what) as url, pytest.raises((NotAProjectError, OSError)):
        blobdir.open_project(url, cache_size=0, timeout=5)
