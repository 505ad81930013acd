"""Packs that were cut off and go on, that meet another one, and that scripts of three lines begin."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import blobdir
from blobdir.errors import BusyError, PackError, UsageError
from blobdir.packing import PackOptions, pack
from blobdir.packing.newfolder import NewFolder
from blobdir.verifying import verify

COMMAND = str(Path(sys.executable).with_name("blobdir"))
SOURCE = str(Path(__file__).parents[2] / "src")
PNG = b"\x89PNG\r\n\x1a\n"
OPTIONS = PackOptions(shard_images=4, processes=1)
PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc000000301010018dd8db0"
    "0000000049454e44ae426082"
)


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


@pytest.fixture
def regular(tmp_path):
    root, source = tmp_path / "regular", random.Random(5)
    for dataset in ("train", "val"):
        for folder in ("img", "ann", "meta"):
            (root / dataset / folder).mkdir(parents=True)
        for i in range(12):
            (root / dataset / f"img/{i:03d}.png").write_bytes(PNG + source.randbytes(300))
            for folder in ("ann", "meta"):
                (root / dataset / folder / f"{i:03d}.png.json").write_text(
                    '{"size": {"height": 1, "width": 1}, "objects": []}'
                )
    (root / "meta.json").write_text('{"classes": [], "tags": [], "projectType": "images"}')
    time.sleep(0.1)  # so that a change from now on shows in its time
    return root


@pytest.fixture
def cut(regular, tmp_path, monkeypatch):
    """The pack of `regular` into ``p`` was cut off after all blobs were done."""

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("blobdir.packing.packer.copy_files", stop)
        with pytest.raises(KeyboardInterrupt):
            pack(regular, tmp_path / "p", OPTIONS)
    return tmp_path / "p.packing"


# -- what is taken for the same --------------------------------------------------------------------------------


def another_of_its_size(path):
    times = path.stat()
    path.write_bytes(PNG + bytes(300))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def another_in_its_place(path):
    other = path.with_name("other")
    shutil.copy2(path, other)
    other.write_bytes(PNG + bytes(300))
    shutil.copystat(path, other)
    os.replace(other, path)


def longer(path):
    path.write_bytes(path.read_bytes() + b"x")


def gone(path):
    path.unlink()
    path.parent.parent.joinpath("ann", f"{path.name}.json").unlink()


def renamed(path):
    path.rename(path.with_name("zzz.png"))
    annotation = path.parent.parent / "ann" / f"{path.name}.json"
    annotation.rename(annotation.with_name("zzz.png.json"))


@pytest.mark.parametrize("edit", [another_of_its_size, another_in_its_place, longer, gone, renamed])
def test_an_image_that_changed_is_packed_anew(regular, cut, tmp_path, edit):
    edit(regular / "train/img/005.png")
    report = pack(regular, tmp_path / "p", OPTIONS, resume=True)
    assert 3 <= report.resumed < 6
    pack(regular, tmp_path / "clean", OPTIONS)
    assert files(tmp_path / "p") == files(tmp_path / "clean")


@pytest.mark.parametrize("folder", ["ann", "meta"])
def test_a_file_beside_the_images_that_changed_is_copied_again(regular, tmp_path, monkeypatch, folder):
    with monkeypatch.context() as patch:
        patch.setattr(NewFolder, "publish", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            pack(regular, tmp_path / "p", OPTIONS)
    another_of_its_size(regular / f"train/{folder}/003.png.json")
    (regular / f"val/{folder}/003.png.json").unlink()
    assert pack(regular, tmp_path / "p", OPTIONS, resume=True).resumed == 6
    pack(regular, tmp_path / "clean", OPTIONS)
    assert files(tmp_path / "p") == files(tmp_path / "clean")


def first(folder, pattern):
    return min(folder.rglob(pattern))


def shorter(path):
    os.truncate(path, path.stat().st_size - 1)


def other_bytes(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def linked(path):
    shutil.move(path, path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


@pytest.mark.parametrize(
    ("pattern", "damage"),
    [
        ("*.tar", shorter), ("*.tar", Path.unlink), ("*.tar", linked), ("*_offsets.pkl", shorter),
        ("*_offsets.pkl", other_bytes), ("*_offsets.pkl", Path.unlink), (".blobdir/packing/*.json", shorter),
        (".blobdir/packing/*.json", Path.unlink),
    ],
)  # fmt: skip
def test_nothing_half_is_taken_for_whole(regular, cut, tmp_path, pattern, damage):
    damage(first(cut, pattern) if "/" not in pattern else min(cut.glob(pattern)))
    report = pack(regular, tmp_path / "p", OPTIONS, resume=True)
    assert report.resumed == 5
    pack(regular, tmp_path / "clean", OPTIONS)
    assert files(tmp_path / "p") == files(tmp_path / "clean")


@pytest.mark.parametrize("checksum", [False, True])
def test_a_tar_that_was_written_to_since_is_packed_again(regular, cut, tmp_path, checksum):
    other_bytes(first(cut, "*.tar"))
    options = PackOptions(shard_images=4, processes=1, checksum=checksum)
    assert pack(regular, tmp_path / "p", options, resume=True).resumed == 5
    assert verify(tmp_path / "p").errors == 0


def test_a_tar_that_was_only_touched_since_is_taken(regular, cut, tmp_path):
    tar = first(cut, "*.tar")
    shutil.copy2(tar, cut / "copy")
    os.replace(cut / "copy", tar)
    assert pack(regular, tmp_path / "p", OPTIONS, resume=True).resumed == 6


def test_other_options_are_another_plan(regular, cut, tmp_path):
    pack(regular, tmp_path / "p", PackOptions(shard_images=5, processes=1), resume=True)
    pack(regular, tmp_path / "clean", PackOptions(shard_images=5, processes=1))
    assert files(tmp_path / "p") == files(tmp_path / "clean")


def test_an_image_that_was_new_when_it_was_read_is_read_again(regular, tmp_path, monkeypatch):
    """Within one tick of its clock a file system can't tell two writes apart."""
    with monkeypatch.context() as patch:
        patch.setattr("blobdir.packing.packer.copy_files", lambda *_: 1 / 0)
        (regular / "train/img/000.png").write_bytes(PNG + b"now")
        with pytest.raises(ZeroDivisionError):
            pack(regular, tmp_path / "p", OPTIONS)
    assert pack(regular, tmp_path / "p", OPTIONS, resume=True).resumed == 5


def test_what_a_source_had_leaves_no_folder(regular, cut, tmp_path):
    shutil.rmtree(regular / "val")
    pack(regular, tmp_path / "p", OPTIONS, resume=True)
    assert not (tmp_path / "p/val").exists()
    assert sorted(p.name for p in (tmp_path / "p").iterdir()) == ["blob", "meta.json", "train"]


# -- what isn't ours ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_that_is_not_ours_is_left_alone(regular, tmp_path, resume):
    (tmp_path / "p.packing/photos").mkdir(parents=True)
    (tmp_path / "p.packing/photos/mine.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"p\.packing"):
        pack(regular, tmp_path / "p", OPTIONS, resume=resume)
    assert files(tmp_path / "p.packing") == {"photos/mine.txt": b"mine"}
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("resume", [False, True])
def test_two_packs_into_one_place(regular, tmp_path, resume):
    with NewFolder(tmp_path / "p", ".packing") as other:
        (other.work / "mine").write_text("mine")
        with pytest.raises(BusyError):
            pack(regular, tmp_path / "p", OPTIONS, resume=resume)
        options = ["--resume"] if resume else []
        done = subprocess.run([COMMAND, "pack", *options, regular, tmp_path / "p"], capture_output=True, check=False)
        assert done.returncode == 8
        assert (other.work / "mine").read_text() == "mine"


def test_many_packs_into_one_place_at_once(regular, tmp_path):
    running = [
        subprocess.Popen([COMMAND, "pack", "-q", regular, tmp_path / "p"], stderr=subprocess.DEVNULL) for _ in range(5)
    ]
    codes = sorted(process.wait(timeout=60) for process in running)
    assert codes[0] == 0
    assert set(codes[1:]) <= {2, 8}
    assert verify(tmp_path / "p").errors == 0
    assert not (tmp_path / "p.packing").exists()


# -- killed -----------------------------------------------------------------------------------------------------


@pytest.mark.timeout(180)
@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("whom", ["all", "parent"])
def test_killed_and_resumed_again_and_again(regular, tmp_path, processes, whom):
    """Until it ends: at whatever moment the parent is killed, its workers spoil nothing."""
    options = ["--shard-images", "2", "--processes", str(processes), "-q", "--resume"]
    pack(regular, tmp_path / "clean", PackOptions(shard_images=2))
    for delay in (0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.9, 20):
        process = subprocess.Popen([COMMAND, "pack", *options, regular, tmp_path / "p"], start_new_session=True)
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            if whom == "all":
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
            process.wait()
        if (tmp_path / "p").exists():
            break
    # Who is killed right after the folder has appeared leaves notes in it, which mean nothing.
    found = {path: data for path, data in files(tmp_path / "p").items() if not path.startswith(".blobdir/packing/")}
    assert found == files(tmp_path / "clean")
    assert not (tmp_path / "p.packing").exists()


def test_a_worker_that_is_killed_is_named(regular, tmp_path, monkeypatch):
    """By whoever kills what takes too much memory."""
    monkeypatch.setattr("blobdir.packing.packer.write_members", os._exit)
    monkeypatch.setattr("blobdir.packing.packer._Packing._shard_jobs", dying)
    with pytest.raises(PackError, match=r"ended with exit status 9 while it was packing images of train; .*--resume"):
        pack(regular, tmp_path / "p", PackOptions(processes=2))
    monkeypatch.undo()
    assert pack(regular, tmp_path / "p", resume=True).images == 24


def dying(*_):
    from blobdir.processes import Job

    return iter([Job(os._exit, (9,), "packing images of train")])


# -- who calls --------------------------------------------------------------------------------------------------

THREE_LINES = (
    "import blobdir\nprint('once')\nprint(blobdir.pack('photos', 'packed', blobdir.PackOptions(processes={})).images)\n"
)


def as_a_file(folder, script):
    (folder / "script.py").write_text(script)
    return [sys.executable, "script.py"], None


def as_a_text(_, script):
    return [sys.executable, "-c", script], None


def as_input(_, script):
    return [sys.executable], script


def as_a_module(folder, script):
    (folder / "tool").mkdir()
    (folder / "tool/__main__.py").write_text(script)
    return [sys.executable, "-m", "tool"], None


def in_a_thread(folder, script):
    code = (
        f"import threading\nthread = threading.Thread(target=exec, args=({script!r},))\nthread.start()\nthread.join()\n"
    )
    return as_a_file(folder, code)


@pytest.mark.parametrize("processes", [1, 4])
@pytest.mark.parametrize("way", [as_a_file, as_a_text, as_input, as_a_module, in_a_thread])
def test_a_script_of_three_lines(tmp_path, way, processes):
    """It runs once, in whatever way, and beside modules that are called as the standard library's."""
    for i in range(9):
        path = tmp_path / f"photos/{i % 3}/{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PICTURE)
    command, given = way(tmp_path, THREE_LINES.format(processes))
    for name in ("hashlib", "selectors", "queue", "pickle", "array", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken for another')")
    environment = os.environ | {"PYTHONPATH": SOURCE, "PYTHONSAFEPATH": "1" if way is not as_a_module else ""}
    if way is as_a_module:
        for path in tmp_path.glob("*.py"):
            path.unlink()
    done = subprocess.run(
        command, input=given, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("once\n9\n", "")
    assert verify(tmp_path / "packed", decode=True).errors == 0


def test_workers_use_the_standard_library_whatever_lies_in_the_folder(tmp_path):
    """The caller has imported its modules when the folder comes into its path; its workers import theirs later."""
    for i in range(6):
        path = tmp_path / f"photos/{i % 2}/{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PICTURE)
    for name in ("hashlib", "selectors", "queue", "pickle", "array", "struct", "dataclasses"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken for another')")
    script = "import sys, blobdir, blobdir.packing\nsys.path.insert(0, '')\n" + THREE_LINES.format(2)
    environment = os.environ | {"PYTHONPATH": SOURCE, "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
    )
    assert (done.stdout, done.stderr) == ("once\n6\n", "")


def test_names_do_not_depend_on_processes_or_order(regular, tmp_path):
    reports = [
        pack(regular, tmp_path / f"{n}", PackOptions(shard_images=3, processes=n, annotations=kind))
        for kind in ("loose", "packed")
        for n in ((1, 4) if kind == "loose" else (2, 3))
    ]
    assert list(reports[0].blobs.items()) == list(reports[1].blobs.items())
    assert list(reports[2].blobs.items()) == list(reports[3].blobs.items())
    for place, digest in (reports[0].blobs | reports[2].blobs).items():
        assert place.endswith(f"-{digest[:8]}.tar")


@pytest.mark.parametrize(
    "datasets",
    [("a-b", "a/datasets/b"), ("x" * 250, "x" * 251, "x" * 200), ("T", "t"), ("ä" * 120, "ä" * 121), ("a", "a-0000")],
)
def test_datasets_whose_blobs_would_have_one_name(tmp_path, datasets):
    """With the same bytes in all of them: nothing but the number tells their blobs apart."""
    for dataset in datasets:
        for i in range(4):
            path = tmp_path / "s" / dataset / f"img/{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(PICTURE)
    (tmp_path / "s/meta.json").write_text('{"classes": [], "tags": [], "projectType": "images"}')
    report = pack(tmp_path / "s", tmp_path / "p", PackOptions(shard_images=2))
    assert len({place.casefold() for place in report.blobs}) == 2 * len(datasets)
    assert len(list((tmp_path / "p/blob").glob("*.tar"))) == 2 * len(datasets)
    project = blobdir.open_project(tmp_path / "p")
    assert [len(dataset.names) for dataset in project.values()] == [4] * len(datasets)
    assert verify(tmp_path / "p").errors == 0
    json.dumps(report.to_json())
