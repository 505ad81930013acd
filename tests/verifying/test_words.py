"""What `verify` says of what it hasn't looked at, or can't hold against anything."""

import warnings

import click
import pytest
from changes.samples import numbered, packed, tars
from PIL import Image

from blobdir import images
from blobdir.cli import app
from blobdir.errors import BlobdirWarning
from blobdir.verifying import verify
from blobdir.wording import part_of


@pytest.fixture
def root(tmp_path):
    return packed(tmp_path / "p", numbered(6) | numbered(2, dataset="val"))


def keep_lines(count):
    def keep(sums):
        sums.write_text("".join(sums.read_text().splitlines(keepends=True)[:count]))

    return keep


@pytest.mark.parametrize(
    ("change", "without"),
    [(lambda sums: None, 0), (lambda sums: sums.unlink(), 3), (keep_lines(1), 2), (keep_lines(0), 3)],
    ids=["all there", "no file", "one line", "no line"],
)
def test_bytes_that_no_checksum_speaks_for(root, capsys, change, without):
    assert len(tars(root)) == 3
    change(root / "blob/SHA256SUMS")
    assert app.run(["verify", str(root)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "checksum to hold them against" in line]
    said = f"not looked at: whether the bytes of {without} blobs are those that were packed"
    assert [line.partition(";")[0] for line in lines] == [said] * bool(without)


@pytest.mark.parametrize("name", ["../../etc/hostname", "../meta.json", "/etc/hostname", "sub/x.tar", "..", "."])
def test_sums_that_name_what_is_elsewhere(root, name):
    with open(root / "blob/SHA256SUMS", "a") as file:
        file.write(f"{'0' * 64}  {name}\n")
    report = verify(root, processes=1)
    (finding,) = report.findings
    assert (finding.code, finding.path, finding.severity) == ("not-checked", "blob/SHA256SUMS", "warning")
    assert repr(name) in finding.examples[0]
    assert report.checksums == report.blobs


def test_a_missing_blob_that_sums_name_is_still_an_error(root):
    with open(root / "blob/SHA256SUMS", "a") as file:
        file.write(f"{'0' * 64}  gone.tar\n")
    assert [(f.code, f.path, f.severity) for f in verify(root, processes=1).findings] == [
        ("blob-missing", "blob/gone.tar", "error")
    ]


def test_a_warning_is_said_once_a_command(monkeypatch, capsys):
    @click.command("twice")
    def twice():
        for text in ("one", "two", "one", "one"):
            warnings.warn(text, BlobdirWarning, stacklevel=1)

    monkeypatch.setattr(app.cli, "get_command", lambda *_: twice)
    for _ in range(2):
        assert app.run(["info"]) == 0
        assert capsys.readouterr().err == "blobdir: warning: one\nblobdir: warning: two\n"


@pytest.mark.parametrize("name", ["journal.json", "pushing.json"])
def test_one_defect_is_said_once(made, capfd, name):
    """A change that was cut off hides names of many folders: that is one thing."""
    import fsspec

    if name == "journal.json":
        made.loose(f".blobdir/{name}", b"x")
        assert app.run(["verify", "-q", str(made.root)]) == 6
        verified = capfd.readouterr().out
        assert (verified.count("a change of the project was cut off"), " times" in verified) == (1, False)
        url = str(made.root)
    else:
        memory, place = fsspec.filesystem("memory"), f"/{made.root.parent.name}"
        memory.put(str(made.root), place, recursive=True)
        memory.pipe_file(f"{place}/.blobdir/{name}", b"x")
        url = f"memory:/{place}"
    assert app.run(["info", "-q", url]) == 0
    out = capfd.readouterr().out
    assert out.count("change-unfinished: ") == 1
    assert "defects   1\n" in out


@pytest.mark.parametrize(
    ("most", "said"),
    [(0, "8 images decoded, "), (5, "0 images decoded, 8 that can't be, ")],
)
def test_images_that_are_too_large_to_be_decoded_are_not_counted_as_decoded(root, capsys, monkeypatch, most, said):
    for holder, name in ((images._Limit, "told"), (images._Limit, "most"), (Image, "MAX_IMAGE_PIXELS")):
        monkeypatch.setattr(holder, name, getattr(holder, name))  # which hold for the process
    app.run(["verify", "--decode", "--processes", "1", "--max-pixels", str(most), str(root)])
    text = capsys.readouterr().out
    assert said in text
    assert "--decode decodes them" not in text


@pytest.mark.parametrize(
    ("count", "total", "words"),
    [(1, 1, "its only object"), (3, 3, "all of its 3 objects"), (1, 2, "1 of its 2 objects")],
)
def test_a_part_of_all_in_words(count, total, words):
    assert part_of(count, total, "object") == words


NO_DATASET = {
    "subset": ["subset", "{root}", "{out}", "--dataset", "trainn"],
    "convert": ["convert", "{root}", "{out}", "--to", "coco", "--dataset", "trainn"],
    "convert --val": ["convert", "{root}", "{out}", "--to", "yolo", "--val", "trainn"],
    "preview": ["preview", "{root}", "--dataset", "trainn", "-o", "{out}.png"],
}


@pytest.mark.parametrize("command", NO_DATASET)
def test_a_dataset_that_is_not_there_is_said_alike(root, tmp_path, capsys, command):
    words = [word.format(root=root, out=tmp_path / "out") for word in NO_DATASET[command]]
    assert app.run(words) == 2
    assert "trainn: isn't a dataset; near it: train" in capsys.readouterr().err
