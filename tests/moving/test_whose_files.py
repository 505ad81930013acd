"""Files at a place that aren't the project's: what belongs to another one, or to who changes it there, stays."""

import os
import shutil
from contextlib import suppress

import pytest
from changes.samples import packed, picture
from folder_bucket import Bucket, files

from blobdir import moving
from blobdir.errors import ReadError, UsageError
from blobdir.moving import pack_to, push
from blobdir.moving.uploading import Uploader

URL = "tested://up"


@pytest.mark.parametrize("state", ["whole", "half", "blobs", "regular", "changing", "empty mark"])
@pytest.mark.parametrize("how", ["delete", "force"])
@pytest.mark.parametrize("dry_run", [True, False])
def test_what_is_another_projects_is_not_deleted(bucket, small, tmp_path, state, how, dry_run):
    """Whatever it's like: being pushed, cut off at any point, packed or not, changed where it lies."""
    push(small, URL)
    other = bucket / "others/second"
    shutil.copytree(tmp_path / "plain" if state.startswith("regular") else small, other)
    shutil.rmtree(other / ".blobdir", ignore_errors=True)
    if state not in ("whole", "regular"):
        (other / "meta.json").unlink()
    if state == "half":
        (other / ".blobdir").mkdir()
        (other / ".blobdir/pushing.json").write_text("{}")
        shutil.rmtree(other / "blob")
    elif state == "blobs":
        for path in other.iterdir():
            shutil.rmtree(path) if path.name != "blob" else None
    elif state == "changing":
        (other / ".blobdir/staging").mkdir(parents=True)
        (other / ".blobdir/staging/1").write_text("x")
        shutil.rmtree(other / "blob")
    elif state == "empty mark":
        (other / ".blobdir").mkdir()
        (other / ".blobdir/fetching").write_text("")
    before = files(bucket)
    with pytest.raises(UsageError, match="another project, others/second/"):
        push(small, URL, dry_run=dry_run, **{how: True})
    assert files(bucket) == before


def test_what_only_looks_like_another_project_is_deleted(bucket, small):
    push(small, URL)
    (bucket / "train/ann/meta.json").write_text("{}")  # of an image called meta
    (bucket / "train/ann/sub").mkdir()
    (bucket / "train/ann/sub/meta.json").write_text("{}")
    (bucket / "train/blob").mkdir()
    (bucket / "train/blob/notes.txt").write_text("no tar")
    assert push(small, URL, delete=True).complete
    assert files(bucket) == files(small)


@pytest.mark.parametrize("how", ["delete", "force", "resume"])
def test_what_is_being_changed_where_it_lies_is_not_pushed_over(bucket, small, how):
    push(small, URL)
    (bucket / ".blobdir/journal.json").write_text("{}")
    with pytest.raises(UsageError, match="is being changed where it lies"):
        push(small, URL, **{how: True})
    assert (bucket / ".blobdir/journal.json").exists()


def everything(folder):
    """Path -> bytes, of blobdir's own too."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


WAYS = {
    "push --resume": lambda project, plain, **options: push(project, URL, resume=True, **options),
    "pack": lambda project, plain, **options: pack_to(plain, URL, **options),
    "pack --resume": lambda project, plain, **options: pack_to(plain, URL, resume=True, **options),
}


@pytest.mark.parametrize("state", ["others below", "another project", "a blob", "other files", "changing"])
@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_place_is_looked_at_before_it_is_touched(bucket, small, tmp_path, how, state, dry_run):
    """By whatever command; a mark that stayed would keep others from what is theirs."""
    other = tmp_path / "other"
    packed(other, {"cats/c.png": picture(3)})
    if state == "others below":
        shutil.copytree(other, bucket / "others/first")
    elif state == "another project":
        shutil.copytree(other, bucket, dirs_exist_ok=True)
    else:
        names = {"a blob": "blob/x.tar", "other files": "notes.txt", "changing": ".blobdir/journal.json"}
        place = bucket / names[state]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("{}")
    before = everything(bucket)
    with pytest.raises(UsageError):
        WAYS[how](small, tmp_path / "plain", dry_run=dry_run)
    assert everything(bucket) == before


@pytest.mark.parametrize("noted", [True, False])
def test_what_an_earlier_try_has_put_there_is_its_own(bucket, small, tmp_path, monkeypatch, noted):
    """Also where it ended after the upload, and before that was noted."""
    real = Uploader.upload_blob

    def upload(self, path, place):
        real(self, path, place)
        raise ReadError("cut off")

    if noted:
        monkeypatch.setattr(moving.packed._Uploads, "finish", lambda *_: (_ for _ in ()).throw(ReadError("cut off")))
    else:
        monkeypatch.setattr(Uploader, "upload_blob", upload)
    with pytest.raises(ReadError, match="cut off"):
        pack_to(tmp_path / "plain", URL)
    monkeypatch.undo()
    assert list(bucket.glob("blob/*.tar"))
    before = everything(bucket)
    pack_to(tmp_path / "plain", URL, resume=True, dry_run=True)
    assert everything(bucket) == before
    assert pack_to(tmp_path / "plain", URL, resume=True)[1].complete
    assert files(bucket) == files(small)


VICTIMS = {
    "annotation": "train/ann/1.jpg.json",
    "meta": "meta.json",
    "pickle": "train/*_offsets.pkl",
    "blob": "blob/t*.tar",
}
FOUND = {"ended": VICTIMS, "before meta.json": VICTIMS.keys() - {"meta"}, "after the blobs": {"blob"}}


def packed_until(when, plain, monkeypatch):
    """Pack, and be cut off somewhere."""
    if when == "ended":
        pack_to(plain, URL)
        return
    if when == "after the blobs":
        monkeypatch.setattr(moving.packed._Uploads, "finish", lambda *_: (_ for _ in ()).throw(ReadError("cut off")))
    else:

        def before(what, path):
            if (what, path) == ("write", "up/meta.json"):
                raise PermissionError("cut off")

        Bucket.before = staticmethod(before)
    with suppress(ReadError):
        assert not pack_to(plain, URL)[1].complete
    monkeypatch.undo()
    Bucket.before = staticmethod(lambda what, path: None)


@pytest.mark.parametrize("etags", [True, False])
@pytest.mark.parametrize(("when", "victim"), [(when, victim) for when in FOUND for victim in sorted(FOUND[when])])
@pytest.mark.parametrize("change", ["edit", "another size"])
def test_what_was_changed_since_an_earlier_try_is_somebody_elses(
    bucket, small, tmp_path, monkeypatch, when, victim, change, etags
):
    Bucket.etags = etags
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    plain = tmp_path / "plain"
    with monkeypatch.context() as patch:
        packed_until(when, plain, patch)
    path = min(bucket.glob(VICTIMS[victim]))
    sound, times = path.read_bytes(), path.stat()
    path.write_bytes(sound[::-1] if change == "edit" else sound + b" ")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 5_000_000_000))
    before = everything(bucket)
    for dry_run in (True, False):
        with pytest.raises(UsageError, match=path.relative_to(bucket).as_posix()):
            pack_to(plain, URL, resume=True, dry_run=dry_run)
    assert everything(bucket) == before
    path.unlink()  # as the message says
    assert pack_to(plain, URL, resume=True)[1].complete
    assert files(bucket) == files(small)
    assert pack_to(plain, URL, resume=True)[1].complete


@pytest.mark.parametrize("victim", ["train/ann/1.jpg.json", "meta.json"])
def test_what_comes_while_it_is_packed_is_somebody_elses(bucket, small, tmp_path, monkeypatch, victim):
    """Also under a name that the pack has."""
    real = moving.packed._Uploads.finish

    def finish(self, project, progress):
        (bucket / victim).parent.mkdir(parents=True, exist_ok=True)
        (bucket / victim).write_text("theirs")
        return real(self, project, progress)

    monkeypatch.setattr(moving.packed._Uploads, "finish", finish)
    with pytest.raises(UsageError, match=victim):
        pack_to(tmp_path / "plain", URL)
    assert (bucket / victim).read_text() == "theirs"
