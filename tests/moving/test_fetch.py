"""Fetching: what is there afterwards is one state of the project, wherever it was cut off, whatever has changed."""

import io
import json
import os
import re
import shutil
import tarfile

import fsspec
import pytest
from changes.samples import files_of, numbered, packed, pickles, swap
from folder_bucket import Bucket, files, image

import blobdir
from blobdir.errors import BusyError, NotAProjectError, PackError, ReadError, SourceChangedError
from blobdir.moving import fetch
from blobdir.offsets import offsets_of_tar, write_offsets
from blobdir.packing import SubsetOptions, subset
from blobdir.sources import RemoteOptions
from blobdir.verifying import verify

URL = "tested://up"


@pytest.fixture
def there(bucket, small):
    shutil.copytree(small, bucket)
    return bucket


def begun(tmp_path):
    """Whether the project was looked at, and is being fetched."""
    return (tmp_path / "got.fetching").exists()


def refuse(tmp_path, part):
    def before(what, path):
        if what == "read" and part in path and begun(tmp_path):
            raise PermissionError(path)

    Bucket.before = staticmethod(before)


def allow():
    Bucket.before = staticmethod(lambda what, path: None)


def touched(path, text):
    """Write a file so that neither size nor time shows it."""
    before = path.stat()
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def cut_off(tmp_path, part=".tar"):
    refuse(tmp_path, part)
    with pytest.raises(ReadError):
        fetch(URL, tmp_path / "got")
    allow()
    assert (tmp_path / "got.fetching").exists()
    assert not (tmp_path / "got").exists()


@pytest.mark.parametrize("etags", [True, False])
@pytest.mark.parametrize("path", ["train/ann/1.jpg.json", "meta.json", "val/meta/1.jpg.json"])
def test_resume_after_an_edit(there, tmp_path, etags, path):
    Bucket.etags = etags
    cut_off(tmp_path)
    text = (there / path).read_text()
    (there / path).write_text(text.replace("1", "7").replace("images", "IMAGES").replace("train", "tRain"))
    fetch(URL, tmp_path / "got", resume=True)
    assert files(tmp_path / "got") == files(there)


def test_resume_after_an_edit_that_only_the_etag_shows(there, tmp_path):
    cut_off(tmp_path)
    edited = there / "train/ann/1.jpg.json"
    text = edited.read_text().replace("c1", "d1")
    edited.unlink()
    edited.write_text(text)
    os.utime(edited, (0, 0))
    fetch(URL, tmp_path / "got", resume=True)
    assert files(tmp_path / "got") == files(there)


def test_resume_after_removals(there, tmp_path):
    cut_off(tmp_path)
    (there / "train/ann/1.jpg.json").unlink()
    shutil.rmtree(there / "val")
    fetch(URL, tmp_path / "got", resume=True)
    assert files(tmp_path / "got") == files(there)


def test_resume_with_what_somebody_has_put_there(there, tmp_path):
    cut_off(tmp_path)
    work = tmp_path / "got.fetching"
    (work / "train/ann/2.jpg.json").write_text("another")
    (work / "train/ann/mine.json").write_text("{}")
    (work / "val/img").mkdir(exist_ok=True)
    (work / "val/img/x.jpg").write_bytes(b"x")
    fetch(URL, tmp_path / "got", resume=True)
    assert files(tmp_path / "got") == files(there)


@pytest.mark.parametrize("has_sums", [True, False])
def test_resume_reads_again_what_is_there_of_blobs(there, tmp_path, monkeypatch, has_sums):
    monkeypatch.setattr("blobdir.moving.fetching.RANGE_BYTES", 4096)
    if not has_sums:
        (there / "blob/SHA256SUMS").unlink()
    first, *_, last = sorted(path.name for path in there.glob("blob/*.tar"))
    cut_off(tmp_path, last)
    spoilt = tmp_path / "got.fetching/blob" / first
    data = bytearray(spoilt.read_bytes())
    data[700] ^= 1
    spoilt.write_bytes(data)
    report = fetch(URL, tmp_path / "got", resume=True, checksum=True)
    assert files(tmp_path / "got") == files(there)
    all_but_last = sum(len(content) for path, content in files(there).items() if not path.endswith(last))
    assert report.resumed == all_but_last - 4096


def test_resume_fetches_nothing_twice(there, tmp_path):
    cut_off(tmp_path)
    for path in there.rglob("*"):
        os.utime(path, (10**9, 10**9))
    allow()
    shutil.rmtree(tmp_path / "got.fetching")
    cut_off(tmp_path)
    Bucket.calls.clear()
    report = fetch(URL, tmp_path / "got", resume=True)
    assert {path for what, path in Bucket.calls if what == "read" and not path.endswith("_offsets.pkl")} == {
        path for what, path in Bucket.calls if what == "read" and path.endswith(".tar")
    }
    assert report.resumed > 0
    assert files(tmp_path / "got") == files(there)


@pytest.mark.parametrize("etags", [True, False])
@pytest.mark.parametrize("change", ["edit", "add", "remove", "pickle", "pushing"])
def test_a_project_that_changes_meanwhile(there, tmp_path, change, etags):
    Bucket.etags = etags
    for path in there.rglob("*"):
        os.utime(path, (10**9, 10**9))

    def before(what, path):
        if what == "read" and path.endswith(".tar") and begun(tmp_path):
            allow()
            if change == "edit":
                edited = there / "train/ann/1.jpg.json"
                edited.write_text(edited.read_text().replace("c1", "d1"))
            elif change == "add":
                (there / "val/ann/new.json").write_text("{}")
            elif change == "remove":
                (there / "val/ann/1.jpg.json").unlink()
            elif change == "pickle":
                pickle = min((there / "val").glob("*.pkl"))
                pickle.write_bytes(pickle.read_bytes())
                os.utime(pickle)
            else:
                (there / ".blobdir").mkdir()
                (there / ".blobdir/pushing.json").write_text("{}")

    Bucket.before = staticmethod(before)
    with pytest.raises(SourceChangedError, match="was changed while it was being fetched"):
        fetch(URL, tmp_path / "got")
    assert not (tmp_path / "got").exists()
    shutil.rmtree(there / ".blobdir", ignore_errors=True)
    fetch(URL, tmp_path / "got", resume=True)
    assert files(tmp_path / "got") == files(there)


def test_killed_at_each_request(there, tmp_path):
    number = 0
    while True:
        left, target = number, tmp_path / f"got-{number}"

        def before(what, path):
            nonlocal left
            left -= 1
            if left < 0:
                raise PermissionError("killed")

        Bucket.before = staticmethod(before)
        try:
            fetch(URL, target)
            break
        except (ReadError, NotAProjectError):
            assert not target.exists()
        allow()
        fetch(URL, target, resume=True)
        assert files(target) == files(there)
        number += 7
    assert number > 20
    assert files(target) == files(there)
    assert not list(tmp_path.glob("*.fetching"))


def test_what_is_no_project_leaves_nothing(there, tmp_path):
    with pytest.raises(NotAProjectError):
        fetch("tested://nothing", tmp_path / "got")
    with pytest.raises(NotAProjectError):
        fetch("tested://nothing", tmp_path / "not/there/got")
    assert not list(tmp_path.rglob("*.fetching"))
    fetch(URL, tmp_path / "not/there/got")
    assert files(tmp_path / "not/there/got") == files(there)


@pytest.mark.parametrize("chosen", [("train",), ("train/hard",), ("train/datasets/hard", "val")])
def test_some_datasets(there, small, tmp_path, chosen):
    (there / "key_id_map.json").write_text("{}")
    (there / "train/notes.txt").write_text("of train")
    fetch(URL, tmp_path / "got", choose=SubsetOptions(datasets=chosen))
    found, whole = blobdir.open_project(tmp_path / "got"), blobdir.open_project(small)
    names = [name.replace("/datasets", "") for name in chosen]
    assert [name for name in found if found[name].names] == names
    assert not found.defects
    for name in names:
        assert found[name].read_many(found[name].names) == whole[name].read_many(whole[name].names)
    got = files(tmp_path / "got")
    assert "key_id_map.json" in got
    assert ("train/notes.txt" in got) == ("train" in chosen)
    sums = (tmp_path / "got/blob/SHA256SUMS").read_text().splitlines()
    assert sorted(line.split("  ")[1] for line in sums) == sorted(
        path.name for path in (tmp_path / "got/blob").glob("*.tar")
    )


@pytest.mark.parametrize("pattern", ["*", "*1.jpg", "val/*"])
def test_what_belongs_to_no_image_is_as_in_a_subset(there, tmp_path, pattern):
    """Captions of chosen images come along, as what lies in the datasets' own folders; the rest is named."""
    for path in ("img/1.txt", "img/2.jpg.txt", "img/other.txt", "ann/notes.txt", "bak/x.txt", "masks_x/none.png"):
        for dataset in ("train", "val", "train/datasets/hard"):
            (there / dataset / path).parent.mkdir(exist_ok=True)
            (there / dataset / path).write_text(path)
    (there / "empty/ann").mkdir(parents=True)
    (there / "empty/label_source.json").write_text("{}")
    choose = SubsetOptions(patterns=(pattern,))
    expected = subset(there, tmp_path / "some", choose)
    report = fetch(URL, tmp_path / "got", choose=choose)
    assert sorted(report.others) == sorted(expected.others) and "val/bak/" in report.others

    def beside(root):
        return {path: data for path, data in files(root).items() if not path.startswith("blob/") and ".pkl" not in path}

    assert beside(tmp_path / "got") == beside(tmp_path / "some")
    assert "val/img/1.txt" in beside(tmp_path / "got")


def test_two_datasets_of_one_name(bucket, tmp_path):
    for number, dataset in enumerate(("a/b", "a/datasets/b", "a")):
        for name in ("img", "ann"):
            (bucket / dataset / name).mkdir(parents=True)
        (bucket / dataset / "img/x.jpg").write_bytes(image(number))
    (bucket / "meta.json").write_text("{}")
    fetch(URL, tmp_path / "path", choose=SubsetOptions(datasets=("a/b",)))
    assert [path for path in files(tmp_path / "path") if path.endswith("x.jpg")] == ["a/b/img/x.jpg"]
    fetch(URL, tmp_path / "other", choose=SubsetOptions(datasets=("a/datasets/b",)))
    assert [path for path in files(tmp_path / "other") if path.endswith("x.jpg")] == ["a/datasets/b/img/x.jpg"]


def test_chosen_images_bring_what_is_theirs(there, small, tmp_path):
    (there / "later/img").mkdir(parents=True)
    (there / "later/ann").mkdir()
    (there / "key_id_map.json").write_text("{}")
    (there / "obj_class_to_machine_color.json").write_text("{}")
    (there / "train/seg").mkdir()
    (there / "train/seg/1.jpg.png").write_bytes(b"seg")
    (there / "train/seg/2.jpg.png").write_bytes(b"another's")
    (there / "train/img").mkdir(exist_ok=True)
    (there / "train/img/loose1.jpg").write_bytes(image(99))
    fetch(URL, tmp_path / "got", choose=SubsetOptions(patterns=("*1.jpg",)))
    found, whole = blobdir.open_project(tmp_path / "got"), blobdir.open_project(there, index="none")
    assert found["train"].names == ["1.jpg", "loose1.jpg"]
    assert found["train/hard"].names == ["1.jpg"]
    for name in ("train", "train/hard", "val"):
        names = found[name].names
        assert found[name].read_many(names) == whole[name].read_many(names)
        assert found[name].annotation("1.jpg") == whole[name].annotation("1.jpg")
    got = files(tmp_path / "got")
    assert json.loads(got["train/datasets/hard/meta/1.jpg.json"])["of"] == "train/datasets/hard"
    assert got["train/seg/1.jpg.png"] == b"seg"
    assert not {"train/seg/2.jpg.png", "train/ann/2.jpg.json"} & got.keys()
    assert {"key_id_map.json", "obj_class_to_machine_color.json", "blob/SHA256SUMS"} <= got.keys()
    assert sorted(os.listdir(tmp_path / "got/later")) == ["ann", "img"]
    assert not [finding for finding in verify(tmp_path / "got").findings if finding.severity == "error"]


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("cached", [False, True])
def test_chosen_images_are_what_their_names_say(bucket, tmp_path, labels, cached):
    """In a new blob, or as a file, nobody could tell any more. Opening looks at three entries of a pickle only."""
    made = packed(tmp_path / "made", numbered(9), annotations="packed", shard_images=9)
    ending = ".json" if labels else ""
    swap(pickles(made, labels)[0], f"a002.png{ending}", f"a003.png{ending}")
    shutil.copytree(made, bucket)
    cache = {"remote": RemoteOptions(cache_size=0)} if not cached else {}
    with pytest.raises((PackError, ReadError), match=rf"train/(img|ann)/a002.png{ending}: should be bytes"):
        fetch(URL, tmp_path / "got", choose=SubsetOptions(patterns=("*[12].png",)), **cache)
    fetch(URL, tmp_path / "other", choose=SubsetOptions(patterns=("*4.png",)), **cache)
    assert files(tmp_path / "other")["train/ann/a004.png.json"] == files_of(numbered(9))["train/ann/a004.png.json"]


def test_members_of_any_name_and_form_are_chosen(bucket, tmp_path):
    """With folders in the tar, long names in headers of their own, hard links, and numbers that only entries have."""
    made = tmp_path / "made"
    (made / "blob").mkdir(parents=True)
    (made / "train/ann").mkdir(parents=True)
    (made / "meta.json").write_text(json.dumps({"classes": [], "tags": [], "projectType": "images"}))
    names = ["one.png", "deep/two.png", "x" * 200 + ".png", "deep/er/one.png"]
    with tarfile.open(made / "blob/a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(name) * 3
            tar.addfile(info, io.BytesIO(name.encode() * 3))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.LNKTYPE, "deep/two.png"
        tar.addfile(link)
    write_offsets(made / "train/a_offsets.pkl", offsets_of_tar(made / "blob/a.tar", on_conflict="rename"))
    shutil.copytree(made, bucket)
    fetch(URL, tmp_path / "got", choose=SubsetOptions(patterns=("*",)))
    want, got = (blobdir.open_project(root) for root in (made, tmp_path / "got"))
    assert got["train"].names == want["train"].names
    assert len(got["train"].names) == 5
    assert got["train"].read_many(got["train"].names) == want["train"].read_many(want["train"].names)


def test_a_chosen_dataset_stays_below_the_one_above_it(there, tmp_path):
    fetch(URL, tmp_path / "got", choose=SubsetOptions(patterns=("train/hard/*",)))
    assert sorted(os.listdir(tmp_path / "got/train")) == ["ann", "datasets", "img"]


def test_datasets_whose_names_make_one(bucket, tmp_path):
    """a-b and a/b would both have blobs called a-b."""
    plain = tmp_path / "plain"
    for number, dataset in enumerate(("a-b", "a/datasets/b")):
        (plain / dataset / "img").mkdir(parents=True)
        (plain / dataset / "ann").mkdir()
        for i in range(3):
            (plain / dataset / f"img/{i}.jpg").write_bytes(image(10 * number + i))
    (plain / "meta.json").write_text('{"classes": [], "tags": [], "projectType": "images"}')
    blobdir.packing.pack(plain, bucket)
    fetch(URL, tmp_path / "got", choose=SubsetOptions(patterns=("*/[01].jpg",)))
    found = blobdir.open_project(tmp_path / "got")
    assert found["a-b"].read_many(["0.jpg", "1.jpg"]) == [image(0), image(1)]
    assert found["a/b"].read_many(["0.jpg", "1.jpg"]) == [image(10), image(11)]


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/abs", "a//b", ".", "train/ann/.."])
def test_names_that_lead_out(tmp_path, name):
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/hostile/p/meta.json", b"{}")
    memory.pipe_file("/hostile/p/train/ann/a.json", b"{}")
    memory.store[f"/hostile/p/{name}"] = memory.store["/hostile/p/meta.json"]
    with pytest.raises(PackError, match=re.escape(repr(name))):
        fetch("memory://hostile/p", tmp_path / "got")
    assert list(fetch("memory://hostile/p", tmp_path / "got", with_defects=True).left_out) == [name]
    memory.rm("/hostile", recursive=True)
    assert os.listdir(tmp_path) == ["got"]
    assert sorted(files(tmp_path / "got")) == ["meta.json", "train/ann/a.json"]


def test_names_of_blobdirs_own(there, tmp_path):
    for name in (".blobdir/fetching/place", ".blobdir/staging/1", ".fetching/place"):
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        (there / name).write_text("theirs")
    fetch(URL, tmp_path / "got")
    assert files(tmp_path / "got") == files(there)
    assert not (tmp_path / "got/.blobdir").exists()


def test_a_name_that_is_too_long_is_named(tmp_path):
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/long/p/meta.json", b"{}")
    memory.pipe_file(f"/long/p/train/ann/{'ä' * 200}.json", b"{}")
    with pytest.raises(ReadError, match="more than 255 bytes"):
        fetch("memory://long/p", tmp_path / "got")
    memory.rm("/long", recursive=True)
    assert not list(tmp_path.iterdir())


def test_synced_before_it_appears(there, tmp_path, monkeypatch):
    from blobdir.packing import newfolder

    seen = []
    monkeypatch.setattr(
        newfolder, "sync_filesystem", lambda path: seen.append((path.name, (tmp_path / "got").exists()))
    )
    fetch(URL, tmp_path / "got")
    assert seen == [("got.fetching", False)]


def test_ranges_count_when_they_are_on_the_disk(there, tmp_path, monkeypatch):
    """A note must not outlive its bytes: power can fail."""
    from blobdir.moving import fetching

    monkeypatch.setattr(fetching, "RANGE_BYTES", 4096)
    order = []
    fsync, write = os.fsync, os.write
    monkeypatch.setattr(os, "fsync", lambda fd: order.append(("sync", os.readlink(f"/proc/self/fd/{fd}"))) or fsync(fd))

    def noted(fd, data):
        path = os.readlink(f"/proc/self/fd/{fd}")
        if "/fetching/" in path and data[:1].isdigit() and b" " not in data:
            order.append(("note", path))
        return write(fd, data)

    monkeypatch.setattr(os, "write", noted)
    fetch(URL, tmp_path / "got")
    notes = [i for i, (what, _) in enumerate(order) if what == "note"]
    assert notes
    assert all(order[i - 1][0] == "sync" and order[i - 1][1].endswith(".tar") for i in notes)


@pytest.mark.parametrize("change", ["added", "removed"])
def test_an_empty_dataset_that_comes_or_goes_meanwhile(there, tmp_path, change, monkeypatch):
    monkeypatch.setattr(Bucket, "protocol", ("tested", "sftp"))  # one that has folders
    if change == "removed":
        (there / "later/img").mkdir(parents=True)

    def before(what, path):
        if what == "read" and path.endswith(".tar") and begun(tmp_path):
            allow()
            (there / "later/img").mkdir(parents=True) if change == "added" else shutil.rmtree(there / "later")

    Bucket.before = staticmethod(before)
    with pytest.raises(SourceChangedError, match="was changed while it was being fetched: later"):
        fetch(URL, tmp_path / "got")


@pytest.mark.parametrize("what", ["foreign", "folder", "cut", "removed"])
def test_another_program_writes_into_what_is_being_fetched(there, tmp_path, what):
    """What it has put there, and what it has spoilt, is an error that names it; when it is away, fetch goes on."""
    work = tmp_path / "got.fetching"

    def before(kind, path):
        if kind == "ls" and (work / "val/ann/5.jpg.json").exists():  # the last look
            allow()
            if what == "foreign":
                (work / "train/ann/mine.json").write_text("{}")
            elif what == "folder":
                (work / "mine/img").mkdir(parents=True)
            elif what == "cut":
                os.truncate(work / "val/ann/1.jpg.json", 3)
            else:
                (work / "val/ann/1.jpg.json").unlink()

    Bucket.before = staticmethod(before)
    with pytest.raises(PackError, match="by another program.*--resume"):
        fetch(URL, tmp_path / "got")
    Bucket.before = staticmethod(lambda *_: None)
    for mine in [*work.rglob("mine*")]:
        with pytest.raises(PackError, match="mine.*by another program"):
            fetch(URL, tmp_path / "got", resume=True)
        mine.rename(tmp_path / mine.name)
    fetch(URL, tmp_path / "got", resume=True)
    assert files(tmp_path / "got") == files(there)
    assert not (tmp_path / "got/mine").exists()


@pytest.mark.parametrize("resume", [True, False])
def test_two_that_fetch_into_one_place(there, tmp_path, resume):
    seen = []

    def before(what, path):
        if what == "read" and path.endswith(".tar") and begun(tmp_path):
            allow()
            with pytest.raises(BusyError, match="another process is making it"):
                fetch(URL, tmp_path / "got", resume=resume)
            seen.append(path)

    Bucket.before = staticmethod(before)
    fetch(URL, tmp_path / "got")
    assert seen
    assert files(tmp_path / "got") == files(there)
