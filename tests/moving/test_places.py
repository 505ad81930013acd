"""Projects in other projects: none is made in one, and who has one in it is told which, and what to do."""

from __future__ import annotations

import os
import subprocess
import sys

import fsspec
import pytest
from changes.samples import files_below, files_of, packed, picture, write_files

from blobdir import Project
from blobdir.cli.app import run
from blobdir.errors import BusyError, PackError, UsageError
from blobdir.moving import fetch, pack_to, push
from blobdir.packing import pack, subset

INSIDE = ("inner", "more/inner", "train/img/inner", "train/inner", "train/datasets/inner", "blob/inner")


@pytest.fixture
def outer(tmp_path):
    return packed(tmp_path / "outer", {"train/a.png": picture(1), "train/b.png": picture(2)})


@pytest.fixture
def other(tmp_path):
    return packed(tmp_path / "other", {"cats/c.png": picture(3)})


@pytest.fixture(params=["memory", "s3"])
def bucket(request, tmp_path):
    """A bucket: its URL, and options."""
    name = f"in{abs(hash(tmp_path.name))}"
    options = request.getfixturevalue("s3") if request.param == "s3" else {}
    if options:
        fsspec.filesystem("s3", **options).mkdir(name)
    return f"{request.param}://{name}", options


def words_of(options):
    return [part for key, value in options.items() for part in ("--storage-option", f"{key}={value}")]


REMOTE = {
    "push": lambda other, url, options: push(other, url, storage_options=options),
    "push, dry run": lambda other, url, options: push(other, url, storage_options=options, dry_run=True),
    "pack": lambda other, url, options: pack_to(other.parent / "plain", url, storage_options=options),
    "unpack": lambda other, url, options: run_or_raise(["unpack", str(other), url, *words_of(options)]),
    "cp -r": lambda other, url, options: run_or_raise(["cp", "-r", str(other), url, *words_of(options)]),
}
LOCAL = {
    "pack": lambda other, place: pack(other.parent / "plain", place),
    "subset": subset,
    "unpack": lambda other, place: run_or_raise(["unpack", str(other), str(place)]),
    "cp -r": lambda other, place: run_or_raise(["cp", "-r", str(other), str(place)]),
    "create": lambda other, place: Project.create(place),
    "fetch": lambda other, place: fetch("memory://source-of-fetch/p", place),
}


def run_or_raise(words):
    if run(words) == 2:
        raise UsageError("is in the project")


@pytest.mark.parametrize("inside", INSIDE)
@pytest.mark.parametrize("how", REMOTE)
def test_nothing_is_made_in_a_pushed_project(bucket, outer, other, tmp_path, how, inside):
    url, options = bucket
    write_files(tmp_path / "plain", files_of({"cats/c.png": picture(3)}))
    push(outer, f"{url}/p", storage_options=options)
    with pytest.raises(UsageError, match="is in the project"):
        REMOTE[how](other, f"{url}/p/{inside}", options)
    fetch(f"{url}/p", tmp_path / "got", storage_options=options)
    assert files_below(tmp_path / "got") == files_below(outer)


@pytest.mark.parametrize("how", REMOTE)
@pytest.mark.parametrize("state", ["half pushed", "without index", "without meta.json", "without both"])
def test_whatever_is_there_of_it(bucket, outer, other, tmp_path, state, how):
    url, options = bucket
    write_files(tmp_path / "plain", files_of({"cats/c.png": picture(3)}))
    push(outer, f"{url}/p", storage_options=options, index=state == "without meta.json")
    fs, root = fsspec.url_to_fs(f"{url}/p", **options)
    if state == "half pushed":
        fs.pipe_file(f"{root}/.blobdir/pushing.json", b"{}")
    if state != "without index":
        fs.rm_file(f"{root}/meta.json")
        fs.invalidate_cache()
    with pytest.raises(UsageError, match="is in the project"):
        REMOTE[how](other, f"{url}/p/inner", options)


@pytest.mark.parametrize("how", REMOTE)
def test_places_beside_a_project_are_free(bucket, outer, other, tmp_path, how):
    """Nor does any meta.json make a project of a bucket."""
    url, options = bucket
    write_files(tmp_path / "plain", files_of({"cats/c.png": picture(3)}))
    fs, root = fsspec.url_to_fs(url, **options)
    fs.pipe_file(f"{root}/meta.json", b"{}")
    push(outer, f"{url}/p", storage_options=options)
    REMOTE[how](other, f"{url}/p2", options)
    REMOTE[how](other, f"{url}/more/p/inner", options)


@pytest.mark.parametrize("inside", INSIDE)
@pytest.mark.parametrize("how", LOCAL)
@pytest.mark.parametrize("through", ["", "link"])
def test_nothing_is_made_in_a_project_here(outer, other, tmp_path, how, inside, through):
    write_files(tmp_path / "plain", files_of({"cats/c.png": picture(3)}))
    push(other, "memory://source-of-fetch/p", delete=True)
    before = files_below(outer)
    place = outer / inside
    if through:
        place.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(place.parent, tmp_path / "link")
        place = tmp_path / "link" / place.name
    with pytest.raises(UsageError, match="is in the project"):
        LOCAL[how](other, place)
    assert files_below(outer) == before


@pytest.mark.parametrize("inside", [*INSIDE, ".blobdir/inner"])
@pytest.mark.parametrize("how", LOCAL)
@pytest.mark.parametrize("known_by", [".blobdir", "dataset", "nested dataset"])
def test_nothing_is_made_in_one_without_meta(outer, other, tmp_path, how, inside, known_by):
    write_files(tmp_path / "plain", files_of({"cats/c.png": picture(3)}))
    push(other, "memory://source-of-fetch/p", delete=True)
    (outer / "meta.json").unlink()
    (outer / ".blobdir").mkdir(exist_ok=True)
    if known_by != ".blobdir" and not inside.startswith(".blobdir"):
        (outer / ".blobdir").rmdir()
    if known_by == "nested dataset":
        (outer / "some").mkdir()
        (outer / "train").rename(outer / "some/train")
    before = files_below(outer)
    with pytest.raises(UsageError, match="is in the project"):
        LOCAL[how](other, outer / inside)
    assert files_below(outer) == before


@pytest.mark.parametrize("how", LOCAL)
@pytest.mark.parametrize("also", ["", "blob/tars/x.tar", "blob/x_offsets.pkl", "notes/a.txt", "img"])
def test_a_folder_called_blob_makes_no_project(other, tmp_path, how, also):
    write_files(tmp_path / "plain", files_of({"cats/c.png": picture(3)}))
    push(other, "memory://source-of-fetch/p", delete=True)
    some = tmp_path / "some"
    write_files(some, {"blob/x.tar": b"", also or "blob/y.tar": b""})
    LOCAL[how](other, some / "new")
    LOCAL[how](other, some / "blob/new")
    assert (some / "new/meta.json").exists()
    assert (some / "blob/new/meta.json").exists()


@pytest.mark.parametrize("how", ["index -o", "info --index"])
@pytest.mark.parametrize("inside", [*INSIDE, "other/.blobdir/../inner", ".blobdir/inner"])
def test_no_index_is_put_into_a_project(outer, other, tmp_path, capfd, how, inside):
    """It would be pushed and packed as one of its datasets; what is blobdir's own there isn't."""
    before = files_below(outer)
    place = outer / inside
    done = run([*how.split(), str(place), str(other)])
    said = capfd.readouterr().err
    assert files_below(outer) == before
    if inside.startswith(".blobdir"):
        assert done == 0
        assert (place / "header.json").exists()
    else:
        assert done == 2
        assert f"{os.path.normpath(place)}: is in the project {outer}; choose a place outside" in said
    assert run([*how.split(), str(tmp_path / "beside"), str(other)]) == 0


@pytest.mark.parametrize("command", [["unpack", "-f"], ["cp", "-r"]])
@pytest.mark.parametrize("inside", ["", "/inner", "/train/new/", "/img"])
@pytest.mark.parametrize("where", ["here", "memory"])
def test_messages_name_the_place_that_was_given(outer, other, tmp_path, capfd, command, inside, where):
    project = str(outer)
    if where == "memory":
        project = f"memory://named-{tmp_path.name}/p"
        push(outer, project)
    assert run([*command, str(other), f"{project}{inside}"]) == 2
    place, in_it = f"{project}{inside}".rstrip("/"), "in " if inside else ""
    assert f"blobdir: {place}: is {in_it}the project {project}; choose a place outside\n" in capfd.readouterr().err


def test_files_can_be_copied_into_one(outer, other, tmp_path):
    """One by one, as by any other program."""
    assert run(["cp", f"{other}/cats/img/c.png", f"{outer}/train/img/c.png"]) == 0
    assert (outer / "train/img/c.png").exists()


@pytest.mark.parametrize("how", LOCAL)
def test_places_beside_one_here_are_free(outer, other, tmp_path, how):
    write_files(tmp_path / "plain", files_of({"cats/c.png": picture(3)}))
    push(other, "memory://source-of-fetch/p", delete=True)
    (tmp_path / "meta.json").write_text("{}")
    LOCAL[how](other, tmp_path / "beside")
    assert (tmp_path / "beside/meta.json").exists()


def moved(fs, source, target):
    fs.invalidate_cache()
    for path in fs.find(source):
        fs.pipe_file(f"{target}{path.removeprefix(source)}", fs.cat_file(path))
    fs.rm(source, recursive=True)


@pytest.mark.parametrize("options", [{"resume": True}, {"delete": True}, {"force": True}], ids=str)
def test_the_way_out(bucket, outer, other, tmp_path, options):
    """Of a project with another one in it, as earlier versions allowed."""
    url, storage = bucket
    push(outer, f"{url}/p", storage_options=storage)
    push(other, f"{url}/q", storage_options=storage)
    fs, root = fsspec.url_to_fs(url, **storage)
    moved(fs, f"{root}/q", f"{root}/p/inner")
    with pytest.raises(PackError, match="another project, inner/"):
        fetch(f"{url}/p", tmp_path / "got", storage_options=storage)
    with pytest.raises(UsageError, match=r"another project, inner/.*move .*/p/inner to a place outside"):
        push(outer, f"{url}/p", storage_options=storage, **options)
    moved(fs, f"{root}/p/inner", f"{root}/elsewhere")
    assert push(outer, f"{url}/p", storage_options=storage, **options).complete
    for name, project in (("p", outer), ("elsewhere", other)):
        fetch(f"{url}/{name}", tmp_path / name, storage_options=storage)
        assert files_below(tmp_path / name) == files_below(project)


def test_one_is_one(outer, capfd):
    """In what commands say, and in whom they name."""
    fsspec.filesystem("memory").pipe_file("/words-of-push/one/a.txt", b"a")
    assert run(["push", str(outer), "memory://words-of-push/one"]) == 2
    assert "holds 1 file already" in capfd.readouterr().err


@pytest.mark.parametrize(("content", "who"), [(b"", "another process"), (b"4711 x", "process 4711")])
def test_who_holds_a_project(outer, content, who):
    """Nobody knows where the other one hasn't said it yet."""
    (outer / ".blobdir").mkdir(exist_ok=True)
    (outer / ".blobdir/lock").write_bytes(content)
    lock = str(outer / ".blobdir/lock")
    code = f"import fcntl; file = open({lock!r}, 'r+'); fcntl.lockf(file, 2); print(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        with pytest.raises(BusyError, match=f": {who} is changing it"):
            push(outer, "memory://words-of-push/busy")
        holder.communicate(b"\n")
