"""A pack to a storage that was killed while it sent a file: what somebody edits there afterwards is never replaced."""

import os
from fnmatch import fnmatch

import pytest
from folder_bucket import Bucket, files

from blobdir.errors import UsageError
from blobdir.moving import pack_to

URL = "tested://up"
KINDS = {"blob": "blob/t*.tar", "annotation": "train/ann/*.json", "pickle": "train/*_offsets.pkl", "meta": "meta.json"}


def killed(plain, pattern, moment, *, resume=False):
    """Pack in a process that is killed at its first upload of such a file: before that, or before it's noted."""
    child = os.fork()
    if child == 0:
        real = Bucket.pipe_file

        def pipe_file(self, path, value, **options):
            mine = fnmatch(self._strip_protocol(path).removeprefix("up/"), pattern)
            if not mine or moment == "sent":
                real(self, path, value, **options)
            if mine:
                os._exit(9)

        Bucket.pipe_file = pipe_file
        try:
            pack_to(plain, URL, resume=resume)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def edit(path, *, seconds=5):
    """Other bytes, as many, and another time."""
    data, times = path.read_bytes(), path.stat()
    path.write_bytes(bytes(len(data)))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + seconds * 1_000_000_000))


@pytest.fixture
def cut_off(bucket, small, tmp_path, monkeypatch, request):
    """The folder that is packed; what is there was put there by tries that were killed, the last at such a file."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    kind, moment, before, Bucket.etags = request.param
    plain = tmp_path / "plain"
    if before == "ended":
        pack_to(plain, URL)
        if kind == "blob":  # else it isn't sent again
            for path in bucket.glob("blob/*.tar"):
                path.unlink()
    elif before == "killed":
        killed(plain, KINDS[kind], moment)
    killed(plain, KINDS[kind], moment, resume=before != "nothing")
    return plain


ALL = [
    (kind, moment, before, etags)
    for kind in KINDS
    for moment in ("coming", "sent")
    for before in ("nothing", "killed", "ended")
    for etags in (True, False)
]
some = pytest.mark.parametrize("cut_off", ALL, indirect=True, ids=lambda it: f"{it[0]}-{it[1]}-{it[2]}-{it[3]}")


@some
def test_what_is_edited_after_a_pack_was_killed_is_somebody_elses(bucket, cut_off):
    """Every file that is there: the one that was being sent, those of its batch, and those before."""
    for path in sorted(path for path in bucket.rglob("*") if path.is_file() and path.parent.name != ".blobdir"):
        name, sound, times = path.relative_to(bucket).as_posix(), path.read_bytes(), path.stat()
        edit(path)
        before = files(bucket)
        for dry_run in (True, False):
            with pytest.raises(UsageError, match=name):
                pack_to(cut_off, URL, resume=True, dry_run=dry_run)
        assert files(bucket) == before
        path.write_bytes(sound)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("cut_off", [it for it in ALL if not it[3]], indirect=True, ids=lambda it: "-".join(it[:3]))
def test_what_is_edited_in_the_same_second_is_somebody_elses(bucket, cut_off):
    """Where times are in whole seconds, and nothing else tells a version: its content does."""
    for path in sorted(path for path in bucket.rglob("*") if path.is_file() and path.parent.name != ".blobdir"):
        sound, times = path.read_bytes(), path.stat()
        edit(path, seconds=0)
        with pytest.raises(UsageError, match=path.relative_to(bucket).as_posix()):
            pack_to(cut_off, URL, resume=True)
        path.write_bytes(sound)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert pack_to(cut_off, URL, resume=True)[1].complete


ODD = {
    "too short": '["train/ann/0.jpg.json",[null,[],null]]',
    "an object": '["a",[null,{},null]]',
    "deep": "[" * 200_000,
    "null": '["a",null]',
    "a number": "5",
    "infinite": '["a",[[1e999,1,"x",1],null,null]]',
    "no version": '["a",[[1,1,"x"],[1,2],null]]',
    "no path": "[[1],[null,null,null]]",
    "half a character": '["\\ud800",[null,null,null]]',
    "no UTF-8": '["\xff",[null,null,null]]',
}


@pytest.mark.parametrize("line", ODD.values(), ids=ODD)
@pytest.mark.parametrize("name", ["there.jsonl", "rest.json"])
@pytest.mark.parametrize("cut_off", [("pickle", "sent", "nothing", True)], indirect=True, ids=str)
def test_notes_that_mean_nothing_are_passed_over(bucket, small, cut_off, tmp_path, name, line):
    (stage,) = (path.parent for path in (tmp_path / "cache").rglob("there.jsonl"))
    with open(stage / name, "ab") as file:
        file.write(b"\n" + line.encode("latin-1") + b"\n")
    assert pack_to(cut_off, URL, resume=True)[1].complete
    assert files(bucket) == files(small)


@some
def test_what_a_killed_pack_has_sent_is_its_own(bucket, small, cut_off):
    assert pack_to(cut_off, URL, resume=True)[1].complete
    assert files(bucket) == files(small)


@pytest.mark.parametrize("cut_off", [it for it in ALL if it[0] == "annotation"], indirect=True, ids=str)
@pytest.mark.parametrize("moment", ["coming", "sent"])
def test_a_source_that_changes_between_tries_makes_nothing_somebody_elses(bucket, cut_off, moment):
    """Of what was sent in vain, each try has sent another content."""
    for try_ in range(2):
        path = cut_off / "train/ann/0.jpg.json"
        path.write_text(path.read_text().replace("{", f'{{"description": "{try_}", ', 1))
        killed(cut_off, KINDS["annotation"], moment, resume=True)
    assert pack_to(cut_off, URL, resume=True)[1].complete
    assert (bucket / "train/ann/0.jpg.json").read_bytes() == path.read_bytes()
