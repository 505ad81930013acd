"""The command line as a user meets it: real processes, real pipes, a real terminal."""

import json
import os
import pty
import subprocess
import sys
import tarfile
import time

import click
import fsspec
import pytest
from blob_builder import Builder, write_tar

import blobdir
from blobdir.cli.app import cli, run
from blobdir.cli.output import human_bytes
from blobdir.offsets import read_offsets

PROGRAM = [sys.executable, "-c", "from blobdir.cli import main; main()"]


def call(*arguments, **options):
    return subprocess.run(
        [*PROGRAM, *map(os.fspath, arguments)], capture_output=True, check=False, timeout=60, **options
    )


def lines(*arguments):
    done = call(*arguments)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode("utf-8", "surrogateescape").splitlines()


@pytest.fixture
def odd(tmp_path):
    """A project with names that are hard on terminals."""
    made = Builder(tmp_path / "odd")
    made.offsets("train", "a", made.tar("a", {"\udcffbytes.jpg": b"one", "bell\x07\x1b[31m.jpg": b"two"}))
    return made.root


def test_ls(digits):
    assert lines("ls", digits) == ["meta.json", "test", "train"]
    assert lines("ls", f"{digits}/") == ["meta.json", "test", "train"]
    assert lines("ls", digits / "train") == ["ann", "datasets", "img"]
    assert lines("ls", f"blobdir://train::{digits}") == ["ann", "datasets", "img"]
    assert lines("ls", digits / "train/img/0_000010.png") == ["train/img/0_000010.png"]
    assert len(lines("ls", digits / "train/img")) == 120
    assert lines("ls", f"{digits}/train/img/*00010.png") == ["train/img/0_000010.png"]
    assert lines("ls", "-d", digits / "train") == ["train"]
    assert len(lines("ls", "-R", digits)) == 491
    assert lines("ls", digits / "meta.json", digits / "train") == [
        "meta.json", "", f"{'train'}:", "ann", "datasets", "img",
    ]  # fmt: skip


def test_ls_from_inside_the_project(digits):
    assert call("ls", "img", cwd=digits / "train").stdout.splitlines()[0] == b"0_000010.png"
    assert call("ls", ".", cwd=digits / "train").stdout == b"ann\ndatasets\nimg\n"


def test_ls_long_and_json(digits):
    line = lines("ls", "-l", f"{digits}/train/img/0_000010.png")[0].split()
    assert line[0] == "-r--r--r--"
    assert line[1] == "725"
    assert line[-1] == "train/img/0_000010.png"
    assert lines("ls", "-lh", digits / "train")[0].startswith("dr-xr-xr-x ")
    infos = json.loads("\n".join(lines("ls", "--json", digits / "train/img")))
    assert len(infos) == 120
    assert infos[0] | {"mtime": 0} == blobdir.open_project(digits).filesystem.info("train/img/0_000010.png") | {
        "mtime": 0
    }


def test_tree(digits):
    drawn = lines("tree", "--limit", "2", digits)
    assert drawn[0] == str(digits)
    assert "│   │   └── … and 118 more" in "\n".join(drawn) or "        └── … and 118 more" in drawn
    assert drawn[-1] == "10 directories, 491 files"
    assert len(lines("tree", "--limit", "0", digits)) == 1 + 10 + 491 + 2
    assert lines("tree", "-L", "1", "-d", digits)[1:3] == ["├── test", "└── train"]


def test_info(digits):
    found = json.loads(lines("info", "--json", digits)[0])
    assert {d["name"]: (d["images"], d["images_in_blobs"], d["annotations"]) for d in found["datasets"]} == {
        "test": (65, 5, 65),
        "train": (120, 120, 120),
        "train/hard": (60, 60, 60),
    }
    assert found["defects"] == []
    one = json.loads(lines("info", "--json", digits / "train/img/0_000010.png")[0])
    with open(digits / one["blob"], "rb") as file:
        file.seek(one["offset_start"])
        data = file.read(one["offset_end"] - one["offset_start"])
    assert data == call("cat", digits / "train/img/0_000010.png").stdout
    assert any(line.split() == ["train/hard", "60", "60", "86K", "60"] for line in lines("info", digits))


def test_info_shows_some_of_many_defects(tmp_path):
    made = Builder(tmp_path / "many")
    for i in range(30):
        made.offsets("train", f"b{i}", [(b"%d.jpg" % i, 512, 600)])
    shown = call("info", made.root).stdout.decode().splitlines()
    assert sum("blob-missing:" in line for line in shown) == 20
    assert shown[-1] == "  … in all: blob-missing 30; --json has each"
    assert len(json.loads(call("info", "--json", made.root).stdout)["defects"]) == 30


def test_cat(digits, digits_plain):
    names = ["train/img/0_000010.png", "train/ann/0_000010.png.json", "meta.json"]
    done = call("cat", *(digits / name for name in names))
    assert done.stdout == b"".join((digits_plain / name).read_bytes() for name in names)


def test_cp_everything_is_the_plain_project(digits, digits_plain, tmp_path):
    done = call("cp", "-r", digits, tmp_path / "out")
    assert done.returncode == 0
    assert b"491 files" in done.stderr
    assert subprocess.run(["diff", "-r", digits_plain, tmp_path / "out"], check=False).returncode == 0


def test_cp_like_cp(digits, tmp_path):
    image = digits / "train/img/0_000010.png"
    assert call("cp", image, tmp_path / "one.png").returncode == 0
    assert (tmp_path / "one.png").stat().st_size == 725
    done = call("cp", image, tmp_path / "one.png")
    assert done.returncode == 2
    assert b"is there already; --force replaces" in done.stderr
    (tmp_path / "one.png").write_bytes(b"mine")
    assert call("cp", "-f", "-p", image, tmp_path / "one.png").returncode == 0
    assert (tmp_path / "one.png").stat().st_size == 725
    assert (tmp_path / "one.png").stat().st_mtime == pytest.approx((digits / "blob/shard-0.tar").stat().st_mtime, abs=1)
    (tmp_path / "folder").mkdir()
    assert call("cp", image, f"{digits}/train/img/*.webp", tmp_path / "folder").returncode == 0
    assert (tmp_path / "folder/0_000010.png").exists()
    done = call("cp", digits / "train", tmp_path / "folder")
    assert done.returncode == 4
    assert b"-r copies it" in done.stderr
    done = call("cp", f"{digits}/train/ann", f"{digits}/test/ann", "-r", tmp_path / "folder")
    assert done.returncode == 0 or b"both" in done.stderr


def test_cp_copies_what_it_can(tmp_path):
    made = Builder(tmp_path / "p")
    made.blob("train", "good", {"a.jpg": b"a" * 700})
    made.blob("train", "bad", {"b.jpg": b"b" * 700, "c.jpg": b"c" * 700})
    os.truncate(made.root / "blob/bad.tar", 512 + 1024 + 512 + 100)
    done = call("cp", "-r", made.root / "train/img", tmp_path / "out")
    assert done.returncode == 7
    assert b"train/img/c.jpg: " in done.stderr
    assert b"1 of 3 files could not be copied" in done.stderr
    assert sorted(os.listdir(tmp_path / "out")) == ["a.jpg", "b.jpg"]


def test_cp_to_a_url(digits, digits_plain, capsys):
    try:
        assert run(["cp", "-r", str(digits / "train"), "memory://cp-test/train"]) == 0
        memory = fsspec.filesystem("memory")
        assert (
            memory.cat_file("/cp-test/train/img/0_000010.png") == (digits_plain / "train/img/0_000010.png").read_bytes()
        )
        assert run(["cp", "-r", str(digits / "train"), "memory://cp-test/train"]) == 0  # into it, as cp -r does
        assert memory.exists("/cp-test/train/train/img/0_000010.png")
        assert run(["cp", str(digits / "meta.json"), "memory://cp-test/meta.json"]) == 0
        assert run(["cp", str(digits / "meta.json"), "memory://cp-test/meta.json"]) == 2
    finally:
        fsspec.filesystem("memory").rm("/cp-test", recursive=True)


def test_remote_projects(digits, digits_plain, capfdbinary):
    memory = fsspec.filesystem("memory")
    memory.put(str(digits), "/cli-remote/lemons", recursive=True)
    try:
        for url in (
            "memory://cli-remote/lemons/train/img/0_000010.png",
            "blobdir://train/img/0_000010.png::memory://cli-remote/lemons",
            "memory://cli-remote/lemons/train/img/*00010.png",
        ):
            assert run(["cat", url]) == 0
            assert capfdbinary.readouterr().out == (digits_plain / "train/img/0_000010.png").read_bytes()
        assert run(["ls", "memory://cli-remote/lemons"]) == 0
        assert capfdbinary.readouterr().out == b"meta.json\ntest\ntrain\n"
    finally:
        memory.rm("/cli-remote", recursive=True)


def test_names_that_are_not_text(odd):
    assert call("ls", odd / "train/img").stdout == b"bell\x07\x1b[31m.jpg\n\xffbytes.jpg\n"
    assert call("cat", os.fsencode(odd) + b"/train/img/\xffbytes.jpg").stdout == b"one"
    json.loads(call("ls", "--json", odd / "train/img").stdout)


def test_terminals_get_no_control_characters(odd):
    parent, child = pty.openpty()
    try:
        subprocess.run([*PROGRAM, "ls", odd / "train/img"], stdout=child, check=True, timeout=60)
        shown = os.read(parent, 1000)
    finally:
        os.close(child)
        os.close(parent)
    assert shown == b"bell\\x07\\x1b[31m.jpg\r\n\\xffbytes.jpg\r\n"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["ls", "{tmp}/nowhere"], 3, "no folder above it is a blob project"),
        (["ls", "{tmp}"], 3, "isn't a blob project"),
        (["ls", "{digits}/train/nowhere"], 4, "train/nowhere: no such file"),
        (["ls", "{digits}/train/*.nothing"], 4, "matches train/*.nothing"),
        (["cat", "{digits}/train"], 4, "is a directory"),
        (["cat", "{digits}/meta.json/x"], 4, "isn't a directory"),
        (["ls", "blobdir://train"], 2, "say in which project"),
        (["ls", "nosuchprotocol://x/y"], 2, "nosuchprotocol"),
        (["ls", "--on-conflict", "maybe", "{digits}"], 2, "--on-conflict"),
        (["ls", "--storage-option", "novalue", "{digits}"], 2, "give key=value"),
        (["nosuchcommand"], 2, "nosuchcommand"),
        (["offsets", "{tmp}/nowhere.tar"], 4, "No such file"),
        (["offsets", "{tmp}/text.tar"], 6, "text.tar"),
        (["offsets", "{tmp}/packed.tar"], 6, "gzip"),
        (["offsets", "{tmp}/x.zip"], 2, "uncompressed .tar only"),
        (["offsets", "{digits}/blob/shard-0.tar", "--output", "{tmp}/nowhere"], 2, "isn't a folder"),
        (["index", "{tmp}/nowhere"], 3, "nowhere"),
    ],
)
def test_bad_input_is_one_line_and_a_status(digits, tmp_path, arguments, status, message):
    (tmp_path / "text.tar").write_bytes(b"hello" * 1000)
    (tmp_path / "x.zip").write_bytes(b"")
    with tarfile.open(tmp_path / "packed.tar", "w:gz"):
        pass
    done = call(*(argument.format(tmp=tmp_path, digits=digits) for argument in arguments))
    text = done.stderr.decode()
    assert (done.returncode, message in text, "Traceback" in text) == (status, True, False), text


def test_debug_shows_where(tmp_path):
    assert b"Traceback" in call("--debug", "ls", tmp_path / "nowhere").stderr


def test_defects_go_to_standard_error(tmp_path):
    made = Builder(tmp_path / "p")
    made.blob("train", "a", {"a.jpg": b"a"})
    (made.root / "blob/a.tar").unlink()
    done = call("ls", made.root / "train/img")
    assert done.stdout == b"a.jpg\n"
    assert done.stderr.startswith(b"blobdir: warning: ")
    assert done.stderr.count(b"\n") == 1
    assert call("ls", "-q", made.root / "train/img").stderr == b""
    assert call("cat", made.root / "train/img/a.jpg").returncode == 7
    (made.root / "train/a_offsets.pkl").write_bytes(b"\x80")
    assert call("ls", made.root / "train/img").returncode == 7
    assert call("ls", "--on-defect", "ignore", made.root / "train/img").returncode == 0
    assert call("ls", "--on-defect", "raise", made.root / "train/img").returncode == 6


def test_reader_that_has_seen_enough(tmp_path):
    made = Builder(tmp_path / "p")
    made.offsets("train", "a", [(b"image_%09d.jpg" % i, i * 1024, i * 1024 + 5) for i in range(100_000)])
    done = subprocess.run(
        f"{sys.executable} -c 'from blobdir.cli import main; main()' ls -q {made.root}/train/img | head -1",
        shell=True, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (b"image_000000000.jpg\n", b"")


def test_offsets(tmp_path):
    entries = write_tar(tmp_path / "a.tar", {f"raw/{i}.jpg": b"%d" % i for i in range(50)} | {"raw/note.txt": b"n"})
    (tmp_path / "train").mkdir()
    assert "51 members" in lines("offsets", tmp_path / "a.tar", "--output", tmp_path / "train")[0]
    assert list(read_offsets(tmp_path / "train/a_offsets.pkl").entries()) == entries
    done = call("offsets", tmp_path / "a.tar", "--output", tmp_path / "train")
    assert done.returncode == 2
    assert b"--replace writes it anew" in done.stderr
    assert (
        call("offsets", "--replace", "--filter", "*.jpg", tmp_path / "a.tar", "-o", tmp_path / "train").returncode == 0
    )
    assert len(read_offsets(tmp_path / "train/a_offsets.pkl")) == 50


def test_offsets_of_several_goes_on_after_a_failure(tmp_path):
    write_tar(tmp_path / "a.tar", {"x/1.jpg": b"1", "y/1.jpg": b"2"})
    write_tar(tmp_path / "b.tar", {"1.jpg": b"1"})
    done = call("offsets", tmp_path / "a.tar", tmp_path / "b.tar")
    assert done.returncode == 6
    assert (tmp_path / "b_offsets.pkl").exists()
    assert not (tmp_path / "a_offsets.pkl").exists()
    assert call("offsets", "--on-conflict", "rename", tmp_path / "a.tar").returncode == 0
    assert [info.name for info in read_offsets(tmp_path / "a_offsets.pkl")] == ["1.jpg", "1_1.jpg"]


def test_index(digits_copy, tmp_path):
    long_ago = time.time() - 3600
    for folder, _, files in os.walk(digits_copy):
        for name in [*files, "."]:
            os.utime(os.path.join(folder, name), (long_ago, long_ago))
    assert "502 rows" in lines("index", digits_copy, "--output", tmp_path / "ix")[0]
    assert lines("ls", "--index", tmp_path / "ix", digits_copy) == ["meta.json", "test", "train"]
    assert "502 rows" in lines("index", "--beside", digits_copy)[0]
    assert (digits_copy / ".blobdir/index/header.json").exists()
    assert lines("ls", digits_copy) == ["meta.json", "test", "train"]
    assert call("index", digits_copy, "--beside", "--output", tmp_path).returncode == 2


def test_interrupt(digits, monkeypatch, capsys):
    from blobdir.cli import listing

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(listing, "write_names", interrupt)
    assert run(["ls", str(digits)]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_secrets_are_not_shown(tmp_path):
    done = call("ls", "--storage-option", "password=hunter2", f"{tmp_path}/nowhere", "--storage-option", "key=hunter2")
    assert b"hunter2" not in done.stderr + done.stdout


def test_help_teaches():
    for command in ("ls", "tree", "info", "cat", "cp", "offsets", "index"):
        done = call(command, "--help")
        assert done.returncode == 0
        assert f"blobdir {command}".encode() in done.stdout
    assert call("--version").stdout.strip().endswith(blobdir.__version__.encode())


def test_overview_says_what_the_commands_say():
    context = click.Context(cli)
    for name, (_, text) in cli.modules.items():
        assert cli.get_command(context, name).help.partition("\n\n")[0].replace("\n", " ") == text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0"), (1023, "1023"), (1024, "1.0K"), (23 << 20, "23M"), (3 << 50, "3072T")]
)
def test_human_bytes(size, text):
    assert human_bytes(size) == text


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "s3://me:hunter2@b/p", "train", "x.png"),
        ("remove", "s3://me:hunter2@b/p", "train/x.png"),
        ("move", "s3://me:hunter2@b/p", "train/x.png", "val"),
        ("compact", "s3://me:hunter2@b/p"),
        ("merge", "/tmp", "s3://me:hunter2@b/p"),
        ("push", "s3://me:hunter2@b/p", "memory://x"),
        ("pack", "s3://me:hunter2@b/p", "/tmp/nothing"),
    ],
)
def test_what_needs_a_folder_refuses_urls(arguments, capfd):
    assert run(list(arguments)) == 2
    told = capfd.readouterr().err
    assert "isn't on this machine" in told
    assert "hunter2" not in told
