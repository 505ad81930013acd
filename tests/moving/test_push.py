"""Pushing over what is there: afterwards the place has what the project has, and in between nothing is mixed."""

import errno
import os
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import fsspec
import pytest
from folder_bucket import Bucket, files

import blobdir
from blobdir.errors import BusyError, LinkError, ReadError, UsageError
from blobdir.moving import fetch, push
from blobdir.packing import compact, remove

URL = "tested://up"


def changed(project):
    """Remove images, edit an annotation without making it longer, add one; what is gone is compacted away."""
    remove(project, ["train/0.jpg", "train/hard/1.jpg", "val/2.jpg"])
    compact(project)
    edited = project / "train/ann/3.jpg.json"
    edited.write_text(edited.read_text().replace("c3", "d3"))
    (project / "notes.txt").write_text("new")


def written():
    return [path.removeprefix("up/") for what, path in Bucket.calls if what == "write" and ".blobdir" not in path]


@pytest.mark.parametrize("how", ["delete", "force"])
def test_the_place_holds_what_the_project_has(bucket, small, how):
    push(small, URL)
    before = files(bucket)
    assert before == files(small)
    changed(small)
    report = push(small, URL, **{how: True})
    assert report.complete
    assert files(bucket) == files(small)
    assert set(report.deleted) == set(before) - set(files(small))
    assert any(path.endswith("_offsets.pkl") for path in report.deleted) or report.replaced
    for index in ("auto", "none"):
        assert "0.jpg" not in blobdir.open_project(URL, index=index)["train"].names
    Bucket.calls.clear()
    assert push(small, URL, delete=True).files == 0
    assert written() == []


@pytest.mark.parametrize("kind", ["memory", "s3"])
def test_the_same_elsewhere(request, small, tmp_path, kind):
    options = request.getfixturevalue("s3") if kind == "s3" else {}
    url = f"{kind}://exact-{abs(hash(tmp_path.name))}/p"
    if kind == "s3":
        fsspec.filesystem("s3", **options).mkdir(url.split("/")[2])
        fsspec.filesystem("s3", **options).pipe_file(f"{url}/old/", b"")
    push(small, url, storage_options=options, delete=True)
    changed(small)
    push(small, url, storage_options=options, delete=True)
    fetch(url, tmp_path / "got", storage_options=options)
    assert files(tmp_path / "got") == files(small)
    fs = fsspec.filesystem(kind, **options)
    fs.invalidate_cache()
    assert not [key for key in fs.find(url.partition("://")[2]) if "/old" in key]


def test_dry_run_touches_nothing_and_tells_the_truth(bucket, small):
    push(small, URL)
    before = files(bucket)
    changed(small)
    Bucket.calls.clear()
    told = push(small, URL, delete=True, dry_run=True)
    assert not [call for call in Bucket.calls if call[0] in ("write", "remove")]
    assert files(bucket) == before
    done = push(small, URL, delete=True)
    assert (told.new, told.replaced, told.deleted) == (done.new, done.replaced, done.deleted)
    assert "notes.txt" in told.new
    assert "train/ann/3.jpg.json" in told.replaced


def touched(path, text):
    """Write a file without letting its time show it."""
    before = path.stat()
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("etags", [True, False])
@pytest.mark.parametrize("side", ["here", "there"])
@pytest.mark.parametrize("checksum", [True, False])
def test_an_edit_of_the_same_length_is_seen(bucket, small, etags, side, checksum):
    Bucket.etags = etags
    push(small, URL)
    path = (small if side == "here" else bucket) / "val/ann/4.jpg.json"
    touched(path, path.read_text().replace("c4", "x4"))
    if side == "there" and etags:
        os.utime(path)
    push(small, URL, resume=True, checksum=checksum)
    assert files(bucket) == files(small)


@pytest.mark.parametrize("kind", ["s3", "azure"])
def test_what_a_bucket_says_of_its_bytes_is_believed(request, small, tmp_path, monkeypatch, kind):
    """Pushed from another machine, there are no notes; nothing is uploaded twice, and an edit isn't missed."""
    options = request.getfixturevalue(kind)
    protocol, name = {"s3": "s3", "azure": "abfs"}[kind], f"said{abs(hash(tmp_path.name))}"
    fsspec.filesystem(protocol, **options).mkdir(name)
    push(small, f"{protocol}://{name}/p", storage_options=options)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    assert push(small, f"{protocol}://{name}/p", storage_options=options, resume=True).files == 0
    edited = small / "train/ann/2.jpg.json"
    touched(edited, edited.read_text().replace("c2", "z2"))
    report = push(small, f"{protocol}://{name}/p", storage_options=options, resume=True)
    assert report.replaced == ["train/ann/2.jpg.json"]


def test_resume_refuses_what_is_not_in_the_project(bucket, small):
    push(small, URL)
    changed(small)
    before = files(bucket)
    with pytest.raises(UsageError, match="that the project doesn't have; --delete"):
        push(small, URL, resume=True)
    assert files(bucket) == before


@pytest.mark.parametrize("how", ["delete", "force"])
def test_what_blobdir_has_not_made_is_not_deleted(bucket, small, how):
    (bucket / "thesis").mkdir(parents=True)
    (bucket / "thesis/chapter.txt").write_text("years")
    with pytest.raises(UsageError, match="isn't a blob project"):
        push(small, URL, **{how: True})
    assert files(bucket) == {"thesis/chapter.txt": b"years"}
    with pytest.raises(UsageError, match="holds 1 file already"):
        push(small, URL)


def states(project, old, new):
    """Opened by whoever comes: everything that is shown is of the old or of the new state, as are its bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            opened = blobdir.open_project(URL, index="auto")
        except blobdir.errors.NotAProjectError:
            return
    for dataset in opened:
        try:
            names = list(opened[dataset].names)
        except blobdir.errors.IncompleteListingError:  # said; what is there can be had by name
            assert any(defect.code == "change-unfinished" for defect in opened.defects)
            names = [key.removeprefix(f"{dataset}/") for key in {**old, **new} if key.startswith(f"{dataset}/")]
        for name in names:
            key = f"{dataset}/{name}"
            try:
                data = opened[dataset].get_blob_img_bytes(name)
            except blobdir.errors.BlobdirError:
                continue  # said, not mixed
            assert data in (old.get(key), new.get(key)), key


def contents(project):
    opened = blobdir.open_project(project, index="none")
    return {f"{d}/{n}": opened[d].get_blob_img_bytes(n) for d in opened for n in opened[d].names}


def restore(bucket, kept):
    for path in files(bucket):
        (bucket / path).unlink()
    (bucket / ".blobdir/index.tar").unlink()
    for path, data in kept.items():
        (bucket / path).parent.mkdir(parents=True, exist_ok=True)
        (bucket / path).write_bytes(data)


def cut_off_after(requests):
    """Refuse all changes after so many."""
    left = requests

    def before(what, path):
        nonlocal left
        if what in ("write", "remove"):
            left -= 1
            if left < 0:
                raise PermissionError("killed")

    Bucket.before = staticmethod(before)


@pytest.mark.parametrize("how", ["delete", "force"])
def test_cut_off_at_each_request(bucket, small, how):
    """Looked at before anybody recovers, then gone on with."""
    push(small, URL)
    old, kept = contents(small), files(bucket)
    changed(small)
    new = contents(small)
    complete, number = False, 0
    while not complete:
        cut_off_after(number)
        try:
            complete = push(small, URL, **{how: True}).complete
        except ReadError:
            complete = False
        Bucket.before = staticmethod(lambda what, path: None)
        states(URL, old, new)
        found = files(bucket)
        if not complete and "meta.json" in found:  # whole, but for the index; or the old one, and blobs nothing names
            assert found == files(small) or kept.items() <= found.items()
        if not complete:
            assert push(small, URL, delete=True).complete
        assert files(bucket) == files(small)
        assert list((bucket / ".blobdir").iterdir()) == [bucket / ".blobdir/index.tar"]
        restore(bucket, kept)
        number += 1
    assert number > 5


def test_killed(s3, small, tmp_path):
    """The program itself, at any moment, again and again."""
    fs = fsspec.filesystem("s3", **s3)
    fs.mkdir("killed-push")
    url = "s3://killed-push/p"
    push(small, url, storage_options=s3)
    changed(small)
    config = tmp_path / "config.toml"
    config.write_text('[storage."s3://killed-push"]\n' + "".join(f'{k} = "{v}"\n' for k, v in s3.items()))
    config.chmod(0o600)
    command = [sys.executable, "-c", "from blobdir.cli import main; main()", "push", "-q", small, url, "--delete"]
    environment = os.environ | {"BLOBDIR_CONFIG": str(config)}
    for delay in (0.5, 0.8, 1.0, 1.2, 1.5):
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        process.kill()
        process.wait()
        fs.invalidate_cache()
        if fs.exists("killed-push/p/meta.json") and not fs.exists("killed-push/p/.blobdir/pushing.json"):
            names = blobdir.open_project(url, storage_options=s3, index="none")["train"].names
            assert names in (["1.jpg", "2.jpg", "3.jpg", "4.jpg", "5.jpg"], [f"{i}.jpg" for i in range(6)])
    assert subprocess.run(command, env=environment, check=False, timeout=60).returncode == 0
    fetch(url, tmp_path / "got", storage_options=s3)
    assert files(tmp_path / "got") == files(small)


def test_old_pickles_never_lead_into_new_blobs(bucket, small):
    """A blob of the same name with other bytes, as before names had digests."""
    blob = min((small / "blob").glob("train*.tar"))
    push(small, URL)
    data = bytearray(blob.read_bytes())
    data[1000:1010] = b"0123456789"
    blob.write_bytes(data)
    pickle = f"train/{blob.stem}_offsets.pkl"
    seen = []

    def before(what, path):
        if what == "write" and path == f"up/blob/{blob.name}":
            seen.append((bucket / pickle).exists())
            assert not (bucket / "meta.json").exists()

    Bucket.before = staticmethod(before)
    push(small, URL, delete=True)
    assert seen == [False]
    assert files(bucket) == files(small)


def test_fetch_refuses_what_is_being_pushed(bucket, small, tmp_path):
    push(small, URL)
    changed(small)

    def before(what, path):
        if what == "remove" and path.endswith("meta.json"):
            Bucket.before = staticmethod(lambda *_: None)
            with pytest.raises(blobdir.errors.SourceChangedError, match="is being pushed"):
                fetch(URL, tmp_path / "got")
            with pytest.warns(blobdir.errors.BlobdirWarning, match="is being pushed"):
                opened = blobdir.open_project(URL, index="none")
            assert "change-unfinished" in {defect.code for defect in opened.defects}
            seen.append(1)

    seen = []
    Bucket.before = staticmethod(before)
    push(small, URL, delete=True)
    assert seen
    assert not (tmp_path / "got").exists()


def test_two_that_push_to_one_place(bucket, small, tmp_path):
    code = f"""
import fsspec, sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from blobdir.moving.notes import PushNotes
from blobdir.sources import open_storage
with PushNotes(open_storage("memory://two/p").place):
    print(1, flush=True); time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(BusyError, match="another process is pushing"):
            push(small, "memory://two/p")
        other.kill()
    assert push(small, "memory://two/p").complete


def test_another_machine_that_pushes_at_the_same_time(bucket, small):
    push(small, URL)
    changed(small)

    def before(what, path):
        if what == "write" and path == "up/notes.txt":
            (bucket / ".blobdir/pushing.json").write_text("somebody else's")

    Bucket.before = staticmethod(before)
    with pytest.raises(BusyError, match="somebody else is pushing"):
        push(small, URL, delete=True)
    assert not (bucket / "meta.json").exists()


@pytest.mark.parametrize(
    ("link", "target", "word"),
    [
        ("train/loop", "..", "circle"),
        ("train/ann/loop", ".", "circle"),
        ("train/secret", "{outside}", "outside"),
        ("train/ann/secret.json", "{outside}/key", "outside"),
        ("notes", "{outside}/../outside/key", "outside"),
        ("train/nowhere", "not-there", "nowhere"),
    ],
)
def test_links(bucket, small, tmp_path, link, target, word):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "key").write_text("KEY")
    expected = files(small)
    (small / link).symlink_to(target.format(outside=outside))
    if word != "circle":
        for dry_run in (True, False):
            with pytest.raises(LinkError, match=f"{link}: is a link that leads {word}.*Nothing was written"):
                push(small, URL, dry_run=dry_run)
        assert not Bucket.calls
    report = push(small, URL, with_defects=word != "circle")
    assert list(report.left_out) == [link]
    assert word in report.left_out[link]
    assert not report.failed
    assert files(bucket) == expected
    if word == "outside":
        report = push(small, URL, delete=True, follow_links=True)
        assert report.complete
        assert b"KEY" in files(bucket).values()


def test_links_inside_are_uploaded_as_what_they_lead_to(bucket, small):
    (small / "train/ann/same.json").symlink_to("1.jpg.json")
    (small / "again").symlink_to("val/ann")
    assert push(small, URL).complete
    found = files(bucket)
    assert found["train/ann/same.json"] == found["train/ann/1.jpg.json"]
    assert found["again/1.jpg.json"] == found["val/ann/1.jpg.json"]


@pytest.mark.parametrize("what", ["blob", "pickle", "folder"])
def test_a_blob_outside_is_refused_at_once(bucket, small, tmp_path, what):
    path = {
        "blob": min((small / "blob").glob("*.tar")),
        "pickle": min((small / "train").glob("*.pkl")),
        "folder": small / "blob",
    }[what]
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LinkError, match="--follow-links"):
        push(small, URL)
    assert not Bucket.calls
    assert push(small, URL, follow_links=True).complete
    assert not push(small, "tested://other", with_defects=True).complete


def test_what_is_no_file_is_named(bucket, small):
    os.mkfifo(small / "train/pipe")
    report = push(small, URL)
    assert report.left_out == {"train/pipe": "is neither file nor folder"}
    assert "train/pipe" not in files(bucket)


def test_leftovers_are_not_uploaded(bucket, small):
    (small / "train/ann/notes.0123456789ab.tmp").write_text("a user's own file, whatever it is called")
    expected = files(small)
    (small / "train/ann/.blobdir-0123456789ab.tmp").write_text("half")
    (small / ".blobdir").mkdir(exist_ok=True)
    (small / ".blobdir/mine").write_text("x")
    push(small, URL)
    assert files(bucket) == expected


@pytest.mark.parametrize("fault", ["vanish", "edit", "replace"])
def test_files_that_change_meanwhile_are_named(bucket, small, fault):
    victim = small / "train/ann/5.jpg.json"

    def before(what, path):
        if what == "write" and "/blob/" in path:
            if fault == "vanish":
                victim.unlink(missing_ok=True)
            elif fault == "edit":
                victim.write_text("{}")
            else:
                victim.unlink()
                victim.write_text("{}")

    Bucket.before = staticmethod(before)
    report = push(small, URL)
    assert list(report.failed) == ["train/ann/5.jpg.json"]
    assert "while it was being pushed" in report.failed["train/ann/5.jpg.json"]
    assert not (bucket / "meta.json").exists()
    Bucket.before = staticmethod(lambda what, path: None)
    assert push(small, URL, delete=True).complete
    assert files(bucket) == files(small)


def test_a_project_that_is_being_changed_is_not_pushed(bucket, small):
    code = (
        f"import time; from blobdir.projectlock import ProjectLock as L; l = L({str(small)!r}); "
        "print(1, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(BusyError):
            push(small, URL)
        other.kill()
    assert not [call for call in Bucket.calls if call[0] == "write"]


def test_empty_datasets_are_there_again(s3, small, tmp_path):
    for name in ("img", "ann"):
        (small / "later" / name).mkdir(parents=True)
    fsspec.filesystem("s3", **s3).mkdir("empty-ones")
    for url, options in (("s3://empty-ones/p", s3), ("memory://empty-ones/p", {})):
        push(small, url, storage_options=options)
        target = tmp_path / url.partition(":")[0]
        fetch(url, target, storage_options=options)
        assert sorted(os.listdir(target / "later")) == ["ann", "img"]
        (small / "later/img").rmdir()
        (small / "later/ann").rmdir()
        (small / "later").rmdir()
        push(small, url, storage_options=options, delete=True)
        fetch(url, tmp_path / f"{target.name}-2", storage_options=options)
        assert not (tmp_path / f"{target.name}-2/later").exists()
        for name in ("img", "ann"):
            (small / "later" / name).mkdir(parents=True)


@pytest.mark.parametrize("number", [errno.ENAMETOOLONG, errno.ENOSPC, errno.EROFS, errno.EILSEQ])
def test_what_will_not_pass_is_not_tried_for_minutes(bucket, small, number):
    def before(what, path):
        if what == "write" and path.endswith("notes.txt"):
            raise OSError(number, os.strerror(number))

    (small / "notes.txt").write_text("x")
    Bucket.before = staticmethod(before)
    report = push(small, URL)
    assert list(report.failed) == ["notes.txt"]
    assert len([path for what, path in Bucket.calls if what == "write" and path.endswith("notes.txt")]) <= 3
    Bucket.before = staticmethod(lambda what, path: None)
    assert push(small, URL, resume=True).complete


CHANGES = {
    "changed": lambda root: (root / "train/ann/0.jpg.json").write_text("{}"),
    "same size": lambda root: touched(root / "train/ann/1.jpg.json", (root / "train/ann/1.jpg.json").read_text()),
    "replaced": lambda root: os.replace(
        shutil.copy2(root / "train/ann/2.jpg.json", root / "x"), root / "train/ann/2.jpg.json"
    ),
    "added": lambda root: (root / "train/ann/new.json").write_text("{}"),
    "removed": lambda root: (root / "val/ann/0.jpg.json").unlink(),
    "blob": lambda root: os.utime(min((root / "blob").glob("*.tar")), (1, 1)),
    "settings": lambda root: (root / "meta.json").write_text("{}"),
    "empty folder": lambda root: (root / "later/img").mkdir(parents=True),
    "link": lambda root: (root / "train/ann/link.json").symlink_to("0.jpg.json"),
}


@pytest.mark.parametrize("change", list(CHANGES))
@pytest.mark.parametrize("when", ["_offsets.pkl", "first", "nothing to upload"])
def test_a_project_that_changes_after_its_files_were_uploaded(bucket, small, change, when):
    if when == "nothing to upload":
        push(small, URL)
    done = []

    def before(what, path):
        late = {"_offsets.pkl": what == "write" and path.endswith("_offsets.pkl"), "first": what == "write"}
        if not done and late.get(when, what == "ls"):
            done.append(path)
            CHANGES[change](small)

    Bucket.before = staticmethod(before)
    try:
        why = list(push(small, URL, delete=when == "nothing to upload").failed.values())
    except blobdir.errors.SourceChangedError as error:
        why = [str(error)]
    assert done
    assert why
    assert any("while" in one or "after it was uploaded" in one for one in why)
    assert not (bucket / "meta.json").exists() or when == "nothing to upload"
    Bucket.before = staticmethod(lambda what, path: None)
    assert push(small, URL, delete=True, with_defects=True).complete
    assert files(bucket) == files(small)


@pytest.mark.parametrize("kind", ["s3", "memory", "sftp"])
def test_a_dataset_that_was_emptied_stays(request, small, tmp_path, kind):
    options, url = {}, f"memory://emptied-{abs(hash(tmp_path.name))}/p"
    if kind == "s3":
        options, url = request.getfixturevalue("s3"), "s3://emptied/p"
        fsspec.filesystem("s3", **options).mkdir("emptied")
    elif kind == "sftp":
        root, options = request.getfixturevalue("sftp")
        url = f"sftp://{root}/emptied"
    push(small, url, storage_options=options)
    if kind == "memory":  # as somebody else leaves it, who makes no folders
        fsspec.filesystem("memory").pseudo_dirs[:] = [""]
    remove(small, [f"val/{i}.jpg" for i in range(6)])
    compact(small)
    left = sorted(path.name for path in (small / "val").iterdir())
    for _ in range(2):
        assert push(small, url, storage_options=options, delete=True).complete
        assert "val" in list(blobdir.open_project(url, storage_options=options))
        assert "val" in list(blobdir.open_project(url, storage_options=options, index="none"))
    assert push(small, url, storage_options=options, delete=True).files == 0
    fetch(url, tmp_path / "got", storage_options=options)
    assert sorted(os.listdir(tmp_path / "got/val")) == left
    assert files(tmp_path / "got") == files(small)


@pytest.mark.parametrize("kind", ["s3", "azure"])
def test_a_bucket_that_is_not_there(request, small, kind):
    options = request.getfixturevalue(kind)
    url = {"s3": "s3://no-such-bucket/p", "azure": "abfs://nosuchcontainer/p"}[kind]
    with pytest.raises(ReadError, match="no such bucket or folder; make it first"):
        push(small, url, storage_options=options)


@pytest.mark.parametrize("folder", ["up/train", "up/train/datasets/hard"])
def test_a_folder_that_vanishes_while_it_is_listed(bucket, small, tmp_path, folder):
    """It isn't taken for a place where there is nothing."""
    push(small, URL)
    before = files(bucket)

    def vanish(what, path):
        if what == "ls" and path == folder:
            raise FileNotFoundError(path)

    Bucket.before = staticmethod(vanish)
    for what in (lambda: push(small, URL), lambda: fetch(URL, tmp_path / "got"), lambda: push(small, URL, delete=True)):
        with pytest.raises(blobdir.errors.SourceChangedError, match="isn't there any more"):
            what()
    assert files(bucket) == before
