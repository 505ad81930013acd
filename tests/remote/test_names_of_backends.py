"""What a backend lists is what is opened, whatever its names have in them, and whatever stands before it."""

import json
import os
import pickle
import shutil
import zipfile

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from project_factory import make_project
from servers import readable

import blobdir
from blobdir import BlobDirFileSystem
from blobdir.cli.app import run
from blobdir.errors import ReadError
from blobdir.moving import fetch
from blobdir.sources import LocalStorage, open_storage

NAMES = [
    "plain.png",
    "sp ace.png",
    "per%20cent.png",
    "d::e.png",
    "zip::q.png",
    "memory::q.png",
    "hash#1.png",
    "question?.png",
    "x:y;z=&+.png",
    "[a]*.png",
    "ü.png",
]
FILES = {f"da ta#1/img/{name}": name.encode() * 20 for name in NAMES}
LOOSE = FILES | {f"da ta#1/img/l{name}": name.encode() * 30 for name in NAMES}
NOTES = {f"{path.replace('/img/', '/ann/')}.json": b'{"description": "%s"}' % path.encode() for path in LOOSE}
FOLDERS = ["", "mp", "m::x1", "p?q#r%20", "memory::y"]
COPIES = ["simplecache", "filecache", "blockcache"]

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = tmp_path_factory.mktemp("names") / "p"
    made = make_project(root, LOOSE | NOTES, loose=[path for path in LOOSE | NOTES if path not in FILES])
    return readable(made)


@pytest.fixture
def memory(monkeypatch):
    """All of memory://, with nothing in it."""
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    monkeypatch.setattr(MemoryFileSystem, "pseudo_dirs", [""])
    BlobDirFileSystem.clear_instance_cache()  # of places that had another project a moment ago
    return MemoryFileSystem()


def check(fs, tmp_path):
    found = fs.find("da ta#1")
    assert sorted(path for path in found if "/img/" in path or "/ann/" in path) == sorted(LOOSE | NOTES)
    for one in (fs, pickle.loads(pickle.dumps(fs))):
        assert {path: one.cat_file(path) for path in LOOSE} == LOOSE
    assert fs.cat(sorted(LOOSE | NOTES)) == LOOSE | NOTES
    assert [fs.size(path) for path in NOTES] == [len(data) for data in NOTES.values()]
    path = "da ta#1/img/ld::e.png"
    with fs.open(path) as file:
        assert file.read() == LOOSE[path]
    fs.get_file(path, str(tmp_path / "got"))
    assert (tmp_path / "got").read_bytes() == LOOSE[path]


PLACES = {
    "protocol": lambda folder, archive: {"fo": f"/{folder}", "target_protocol": "memory"},
    "protocol, no slash": lambda folder, archive: {"fo": folder, "target_protocol": "memory"},
    "copies": lambda folder, archive: {
        "fo": f"/{folder}", "target_protocol": "simplecache", "target_options": {"target_protocol": "memory"},
    },
    "backend": lambda folder, archive: {"fo": folder, "fs": MemoryFileSystem()},
    "dir backend": lambda folder, archive: {
        "fo": "", "fs": fsspec.filesystem("dir", path=f"/{folder}", fs=MemoryFileSystem()),
    },
    "zip": lambda folder, archive: {"fo": folder, "target_protocol": "zip", "target_options": {"fo": archive}},
    "zip backend": lambda folder, archive: {"fo": folder, "fs": fsspec.filesystem("zip", fo=archive)},
    "URL": lambda folder, archive: {"fo": f"memory://{folder}"},
    "URL of copies": lambda folder, archive: {"fo": f"filecache::memory://{folder}"},
    "URL of zip": lambda folder, archive: {"fo": f"zip://{folder}::{archive}"},
}  # fmt: skip


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("place", PLACES)
def test_on_this_machine(project, memory, tmp_path, folder, place):
    if "::" in folder and place.startswith("URL"):
        return  # that is two URLs
    archive = tmp_path / "p.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in (path for path in project.rglob("*") if path.is_file()):
            name = os.path.join(folder, path.relative_to(project))
            packed.write(path, name)
            memory.pipe_file(f"/{name}", path.read_bytes())
    options = PLACES[place](folder, str(archive))
    check(BlobDirFileSystem(cache_size=0, skip_instance_cache=True, **options), tmp_path)


@pytest.fixture(params=["http", "s3"])
def served(request, project):
    """(URL, options of its protocol) of the project on a server."""
    if request.param == "http":
        www, plain, _ = request.getfixturevalue("nginx")
        root = www / "names #1"
        if not root.exists():
            readable(shutil.copytree(project, root))
        return f"{plain}/names%20%231", {}
    options = request.getfixturevalue("s3")
    fs = fsspec.filesystem("s3", **options)
    if not fs.exists("names-of-backends"):
        fs.mkdir("names-of-backends")
        for path in (path for path in project.rglob("*") if path.is_file()):
            fs.pipe_file(f"names-of-backends/p/{path.relative_to(project)}", path.read_bytes())
    return "s3://names-of-backends/p", options


@pytest.mark.parametrize("chain", ["", *COPIES, "filecache::simplecache"])
def test_on_a_server(served, tmp_path, chain):
    url, options = served
    protocol = url.partition(":")[0]
    place = f"{chain}::{url}" if chain else url
    target = {protocol: options} if chain else options
    fs = BlobDirFileSystem(place, target_options=target, cache_size=0, skip_instance_cache=True)
    check(fs, tmp_path)
    assert blobdir.open_project(place, storage_options=target)["da ta#1"].annotation("lsp ace.png")["description"]
    fetch(place, tmp_path / "fetched", storage_options=target)
    assert {path: (tmp_path / "fetched" / path).read_bytes() for path in NOTES} == NOTES


@pytest.mark.parametrize("chain", COPIES)
def test_chained_urls(served, chain):
    url, options = served
    protocol = url.partition(":")[0]
    path = "da ta#1/img/lsp ace.png"
    with fsspec.open(f"blobdir://{path}::{chain}::{url}", **{protocol: options}) as file:
        assert file.read() == LOOSE[path]


@pytest.mark.parametrize("chain", COPIES)
def test_copies_that_are_given_as_backends(served, tmp_path, chain):
    url, options = served
    backend = fsspec.filesystem(chain, target_protocol=url.partition(":")[0], target_options=options)
    check(BlobDirFileSystem(url, fs=backend, cache_size=0, skip_instance_cache=True), tmp_path)


@pytest.mark.parametrize("chain", ["", "simplecache::", "filecache::blockcache::"])
def test_paths_in_projects_by_commands(served, capfdbinary, chain):
    url, options = served
    protocol = url.partition(":")[0]
    given = [f"--storage-option={key}={value}" for key, value in options.items()]
    if chain and options:
        given = [f"--storage-option={protocol}={json.dumps(options)}"]
    path = "da ta#1/ann/lsp ace.png.json"
    assert run(["cat", *given, f"{chain}{url}/{path}"]) == 0
    assert capfdbinary.readouterr().out == NOTES[path]
    assert run(["ls", *given, f"{chain}{url}/da ta#1/img"]) == 0
    assert "lsp ace.png" in capfdbinary.readouterr().out.decode()


@pytest.mark.parametrize("chain", ["", *(f"{name}::" for name in COPIES)])
def test_files_that_are_other_ones_by_now(memory, tmp_path, chain):
    """Copies of the old ones aren't taken for the new version."""
    for content in (b"A", b"B"):
        path = tmp_path / content.decode()
        files = {"train/img/1.png": content * 900, "train/img/2.png": content * 30, "train/img/3.png": content * 70}
        make_project(path, files, loose=["train/img/3.png"])
        memory.put(f"{path}/", "/there", recursive=True)
        fs = BlobDirFileSystem(f"{chain}memory://there", cache_size=0, skip_instance_cache=True)
        assert fs.cat_file("train/img/1.png") == files["train/img/1.png"]
        assert fs.cat("train/img/*") == files


@pytest.mark.parametrize("chain", ["simplecache::", "filecache::file://"])
def test_copies_of_this_machine(project, chain):
    assert isinstance(open_storage(f"{chain}{project}"), LocalStorage)
    assert open_storage(f"{chain}{project}").url == str(project)


def test_a_name_that_a_backend_takes_for_a_url(memory, tmp_path):
    archive = tmp_path / "p.zip"
    root = make_project(
        tmp_path / "p", {"zip::q/img/1.png": b"1", "zip::q/img/2.png": b"2"}, loose=["zip::q/img/2.png"]
    )
    with zipfile.ZipFile(archive, "w") as packed:
        for path in (path for path in root.rglob("*") if path.is_file()):
            packed.write(path, path.relative_to(root))
    fs = BlobDirFileSystem(f"zip://::{archive}", skip_instance_cache=True)
    with pytest.raises(ReadError, match=r"zip::q/img/2\.png: the backend takes this name for another one"):
        fs.cat_file("zip::q/img/2.png")
