"""The web servers that people have, each as it comes: every file is there, and what can't be had is named."""

import shutil

import pytest
from blob_builder import Builder
from folder_bucket import files
from servers import readable

import blobdir
from blobdir.cli.app import run
from blobdir.moving import fetch

NAMES = (
    "http.json", "https:x.json", "c:d.json", "what?.json", "a#b.json", "50%.json", "%41.json", "two words.json",
    "a&amp;b.json", "a&b.json", "'\".json", "é.json", "日本.json", "?C=N;O=D.json", "#top", "x;y=z", "index.json",
    "Parent Directory", "x...json", "plus+.json", "a" * 120 + ".json", "~x.json", "[1].json", "<b>.json", "a|b.json",
    "back\\slash.json", "folder", "UP.JSON",
)  # fmt: skip
LIST_WHAT_LEADS_NOWHERE = ("Caddy", "http-server", "serve", "Python", "nginx")
CANT_LINK = {"serve": {"%41.json", "a&amp;b.json"}}
"""Names to which a server's own pages lead to something else: `serve` writes them as they are."""
WHERE = {"below the root": "p", "deep": "a b/c&d/é/p"}


@pytest.fixture(params=list(WHERE))
def project(request, web_server):
    www, url, kind = web_server
    made = Builder(www / WHERE[request.param])
    made.blob("train", "a", {"1.jpg": b"1" * 600, "2.jpg": b"2" * 60_000})
    made.blob("http-icons", "http", {"3.jpg": b"3" * 600})
    for name in NAMES:
        if name in CANT_LINK.get(kind, ()):
            continue
        (made.root / "train/ann" / name).write_text(f'{{"of": {len(name)}}}')
    (made.root / "train/notes/deep").mkdir(parents=True)
    (made.root / "train/notes/deep/x.txt").write_text("x")
    (made.root / "train/empty").mkdir()
    readable(www)
    yield made.root, f"{url}/{WHERE[request.param]}", kind
    shutil.rmtree(www / WHERE[request.param].split("/")[0])


def test_everything_is_there(project, tmp_path):
    root, url, _ = project
    fetch(url, tmp_path / "got")
    assert files(tmp_path / "got") == files(root)
    opened = blobdir.open_project(url)
    assert list(opened) == ["http-icons", "train"]
    assert bytes(opened["train"].get_blob_img_bytes("2.jpg")) == b"2" * 60_000


GONE = "train/ann/gone.json"


@pytest.mark.parametrize("beside", [False, True], ids=["listed", "index beside"])
def test_what_is_listed_and_not_there(project, tmp_path, capsys, beside):
    """It's named, with an exit status, and costs nothing else. Some servers don't list it: then it's no file."""
    root, url, kind = project
    if beside:
        (root / GONE).write_text("{}")
        assert run(["index", str(root), "--beside"]) == 0
        (root / GONE).unlink()
    else:
        (root / GONE).symlink_to("nowhere")
    is_listed = beside or kind in LIST_WHAT_LEADS_NOWHERE
    there = files(root).keys() - {GONE}
    assert (GONE in blobdir.open_project(url).filesystem.ls("train/ann", detail=False)) == is_listed
    capsys.readouterr()
    assert run(["cp", "-q", "-r", url, str(tmp_path / "copied")]) == (7 if is_listed else 0)
    assert (f"{GONE}: is listed, but isn't there" in capsys.readouterr().err) == is_listed
    assert (tmp_path / "copied" / GONE).exists() is False
    if not beside:
        assert run(["fetch", url, str(tmp_path / "fetched")]) == (7 if is_listed else 0)
        assert (f"{GONE}: is listed, but isn't there" in capsys.readouterr().err) == is_listed
        assert run(["fetch", url, str(tmp_path / "all else"), "--with-defects"]) == (7 if is_listed else 0)
        assert files(tmp_path / "all else").keys() == there
