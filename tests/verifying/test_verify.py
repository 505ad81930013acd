"""Verifying: sound projects are sound, every damage is found and named, and what can be mended is."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from blob_builder import Builder
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import blobdir
from blobdir.errors import DamagedTarError, NotAProjectError, UsageError
from blobdir.offsets import read_offsets, reader, write_offsets
from blobdir.packing.shards import IMAGE_BEGINNINGS, is_image
from blobdir.verifying import repair, verify
from blobdir.verifying.contents import HEAD, are_images, read_through

BEGINNINGS = [
    b"".join(b"\0" * (at - sum(len(m) for _, m in parts[:i])) + magic for i, (at, magic) in enumerate(parts))
    for parts in IMAGE_BEGINNINGS
]
COMMAND = str(Path(sys.executable).with_name("blobdir"))
META = {
    "classes": [{"title": "lemon", "shape": "rectangle", "color": "#FFFF00"}],
    "tags": [{"name": "ripe", "value_type": "none", "color": "#00FF00"}],
    "projectType": "images",
}


def picture(seed, size=(9, 7)):
    data = io.BytesIO()
    Image.new("RGB", size, (seed % 256, 3, 200)).save(data, "PNG")
    return data.getvalue()


def annotation(size=(9, 7), classes=("lemon",), tags=("ripe",)):
    points = {"exterior": [[1, 1], [4, 4]], "interior": []}
    objects = [{"classTitle": title, "geometryType": "rectangle", "tags": [], "points": points} for title in classes]
    text = {"size": {"height": size[1], "width": size[0]}, "tags": [{"name": n} for n in tags], "objects": objects}
    return json.dumps(text).encode()


@pytest.fixture
def sound(tmp_path):
    """A project of two blobs, without any fault."""
    made = Builder(tmp_path / "p")
    made.loose("meta.json", json.dumps(META).encode())
    for blob in ("a", "b"):
        members = {f"{blob}{i:02d}.png": picture(i) for i in range(20)}
        made.offsets("train", blob, made.tar(blob, members))
        for name in members:
            made.loose(f"train/ann/{name}.json", annotation())
    sums = subprocess.run(["sha256sum", "a.tar", "b.tar"], cwd=made.root / "blob", capture_output=True, check=True)
    made.loose("blob/SHA256SUMS", sums.stdout)
    return made


def codes(report):
    return {finding.code: finding.count for finding in report.findings}


@pytest.fixture
def entries(sound):
    return [(e.name.encode(), e.offset_start, e.offset_end) for e in read_offsets(sound.root / "train/a_offsets.pkl")]


def test_sound(sound):
    report = verify(sound.root, decode=True)
    assert report.findings == []
    assert (report.blobs, report.entries, report.annotations, report.decoded, report.checksums) == (2, 40, 40, 40, 2)


def test_the_sdks_own_project(digits):
    report = verify(digits, decode=True, processes=2)
    assert report.errors == 0, report.findings
    assert report.decoded == 245


def shifted(entries, by):
    return [(name, start + by, end + by) for name, start, end in entries]


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda e: shifted(e, 1), {"offset-no-member": 20}),
        (lambda e: shifted(e, 512), {"offset-no-member": 20}),
        (lambda e: [e[0], (e[1][0], e[1][1], e[1][2] - 1), *e[2:]], {"offset-size": 1}),
        (lambda e: [(b"other.png", *e[0][1:]), *e[1:]], {"offset-name": 1, "image-without-annotation": 1}),
        (lambda e: e[:-3], {"member-unreferenced": 3, "annotation-without-image": 3}),
        (lambda e: [*e, (b"far.png", 10**9, 10**9 + 5)], {"offset-past-end": 1, "image-without-annotation": 1}),
        (lambda e: [*e, (b"in.png", e[0][1] + 1, e[0][2])], {"offset-overlap": 1, "offset-no-member": 1}),
        (lambda e: [*e, (b"twin.png", *e[4][1:])], {"offset-shared": 1, "offset-name": 1}),
        (lambda e: [(e[1][0], *e[0][1:]), (e[0][0], *e[1][1:]), *e[2:]], {"offset-name": 2}),
    ],
)
def test_offsets(sound, entries, damage, found):
    write_offsets(sound.root / "train/a_offsets.pkl", damage(entries))
    seen = codes(verify(sound.root))
    assert found.items() <= seen.items(), seen


def test_damaged_blobs(sound):
    blob = sound.root / "blob/a.tar"
    data = bytearray(blob.read_bytes())
    data[700] ^= 1
    blob.write_bytes(data)
    assert codes(verify(sound.root)) == {"checksum": 1}
    data[1] ^= 1  # in a header
    blob.write_bytes(data)
    assert "tar-damaged" in codes(verify(sound.root))
    blob.write_bytes(data[:5000])
    assert {"tar-damaged"} <= set(codes(verify(sound.root)))
    subprocess.run(["gzip", "-k", blob], check=True)
    os.replace(f"{blob}.gz", blob)
    assert "tar-damaged" in codes(verify(sound.root))
    blob.unlink()
    assert codes(verify(sound.root))["blob-missing"] == 2  # by the pickle, and by SHA256SUMS


def test_images(sound):
    entries = sound.tar("c", {"empty.png": b"", "text.png": b"some text", "cut.png": picture(1)[:40]})
    sound.offsets("train", "c", entries)
    for name in ("empty.png", "text.png", "cut.png"):
        sound.loose(f"train/ann/{name}.json", annotation())
    assert codes(verify(sound.root)) == {"empty": 1, "not-an-image": 1, "checksum-missing": 1}
    seen = codes(verify(sound.root, decode=True))
    assert seen["not-decodable"] == 3


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"{", "annotation-invalid"),
        (b"[]", "annotation-invalid"),
        (b'{"size": {"height": "7", "width": 9}, "objects": []}', "annotation-invalid"),
        (annotation(classes=["pear"]), "class-unknown"),
        (annotation(tags=["blue"]), "tag-unknown"),
        (annotation(size=(10, 7)), "annotation-size"),
    ],
)
def test_annotations(sound, text, found):
    sound.loose("train/ann/a03.png.json", text)
    report = verify(sound.root, decode=True)
    assert codes(report) == {found: 1}
    assert "a03.png" in report.findings[0].examples[0]


def test_many_cases_of_a_kind_are_counted_and_few_kept(sound, entries):
    write_offsets(sound.root / "train/a_offsets.pkl", [(b"x" + name, s, e) for name, s, e in entries] * 1)
    report = verify(sound.root)
    (finding,) = (f for f in report.findings if f.code == "offset-name")
    assert finding.count == len(finding.examples) == 20


def test_offsets_are_parsed_once(sound, monkeypatch):
    parsed, real = [], reader._read

    def read(data, path, *rest, **more):
        parsed.append(path)
        return real(data, path, *rest, **more)

    monkeypatch.setattr(reader, "_read", read)
    assert verify(sound.root).findings == []
    assert sorted(parsed) == ["train/a_offsets.pkl", "train/b_offsets.pkl"]


# -- repairing -----------------------------------------------------------------------------------------------


def broken_pickle(sound, entries):
    path = sound.root / "train/a_offsets.pkl"
    path.write_bytes(path.read_bytes()[:200])


def wrong_offsets(sound, entries):
    write_offsets(sound.root / "train/a_offsets.pkl", shifted(entries, 512))


def repeated(sound, entries):
    path = sound.root / "train/a_offsets.pkl"
    path.write_bytes(path.read_bytes() * 3)


@pytest.mark.parametrize("damage", [broken_pickle, wrong_offsets, repeated])
def test_repair(sound, entries, damage):
    path = sound.root / "train/a_offsets.pkl"
    good = path.read_bytes()
    damage(sound, entries)
    bad = path.read_bytes()
    report = verify(sound.root)
    assert report.findings
    (said,) = repair(sound.root, report)
    assert "the old one is a_offsets.pkl.backup-" in said
    (backup,) = path.parent.glob("*.backup-*")
    assert backup.read_bytes() == bad
    assert path.read_bytes() == good
    report = verify(sound.root, decode=True)
    assert report.findings == []
    assert blobdir.open_project(sound.root)["train"].get_blob_img_bytes("a07.png") == picture(7)


def test_what_cant_be_mended_without_loss(sound, entries):
    """A blob of two datasets, one pickle of which can't be read; and a blob that is another one."""
    shutil.copytree(sound.root / "train", sound.root / "test")
    (sound.root / "test/b_offsets.pkl").unlink()
    broken_pickle(sound, entries)
    said = repair(sound.root, verify(sound.root))
    assert any("serves other datasets too: not mended" in sentence for sentence in said)
    write_offsets(sound.root / "train/a_offsets.pkl", [(b"gone.png", 1, 2)])
    said = repair(sound.root, verify(sound.root))
    assert any("1 of its names aren't in blob/a.tar: not mended" in sentence for sentence in said)
    assert not list(sound.root.rglob("*.backup-*"))


# -- the command ---------------------------------------------------------------------------------------------


def test_command(sound, entries):
    def run(*words):
        done = subprocess.run([COMMAND, "verify", *words, sound.root], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    code, out = run()
    assert code == 0
    assert "0 errors, 0 warnings" in out
    (sound.root / "train/ann/a00.png.json").unlink()
    assert run()[0] == 0
    assert run("--strict")[0] == 6
    write_offsets(sound.root / "train/a_offsets.pkl", shifted(entries, 512))
    code, out = run("--json")
    assert code == 6
    assert json.loads(out)["errors"] == 20
    code, out = run("--repair")
    assert code == 0
    assert "as before, where the tar has them" in out


def test_options_of_the_command(sound, entries):
    def run(*words):
        done = subprocess.run([COMMAND, "verify", *words, sound.root], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    assert run("--for", "supervisely")[0] == 0
    shutil.copytree(sound.root / "train", sound.root / "johann")
    code, out = run()
    assert code == 0
    assert "warning: johann: sdk-name, 1 time" in out
    code, out = run("--for", "supervisely")
    assert code == 6
    assert "error: johann: sdk-name, 1 time" in out
    assert "not looked at: the pixels of the images" in out
    write_offsets(sound.root / "train/a_offsets.pkl", shifted(entries, 512)[:1] + entries[1:])
    shutil.rmtree(sound.root / "johann")
    before = (sound.root / "train/a_offsets.pkl").read_bytes()
    code, out = run("--repair", "--dry-run")
    assert code == 6
    assert "train/a_offsets.pkl: would have 20 images as before" in out
    assert (sound.root / "train/a_offsets.pkl").read_bytes() == before
    assert run("--dry-run")[0] == 2


def test_places_that_are_no_project(sound, tmp_path):
    for name in ("file.tar", "file.txt"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DamagedTarError, match="not a tar archive"):
        verify(tmp_path / "file.tar")
    for place, said in ((tmp_path / "file.txt", "is a file"), (tmp_path / "none", "doesn't exist")):
        with pytest.raises(NotAProjectError, match=said):
            verify(place)
    with pytest.raises(UsageError, match="fetch the project first"):
        verify("memory://x")
    with pytest.raises(UsageError, match="choose 'supervisely'"):
        verify(sound.root, audience="others")


def test_a_script_without_a_guard(sound):
    """Processes that decode don't run the caller's script again."""
    sound.loose("train/img/bad.png", b"\x89PNG")
    script = (
        "import blobdir.verifying.decoding as d\nd.BATCH = 7\nfrom blobdir.verifying import verify\n"
        f"r = verify({str(sound.root)!r}, decode=True, processes=2)\n"
        "print(r.decoded, [f.code for f in r.findings])\n"
    )
    done = subprocess.run([sys.executable, "-"], input=script, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "40 ['not-decodable', 'image-without-annotation', 'not-an-image']\n"
    assert done.stderr == ""


# -- the quick ways equal the slow ones ----------------------------------------------------------------------


def found(report):
    return [(f.code, f.path, f.count, sorted(f.examples)) for f in report.findings]


@pytest.mark.parametrize("interpreter", [None, "/bin/false", "python-that-dies"])
def test_helpers_find_what_one_process_finds(sound, monkeypatch, interpreter, tmp_path):
    """Also if they die, or can't be started."""
    sound.loose("train/ann/a00.png.json", b"{")
    sound.loose("train/ann/a01.png.json", annotation(classes=("lemon", "lime")))
    sound.loose("train/ann/a02.png.json", annotation(tags=("sour",)))
    sound.loose("train/ann/a03.png.json", b'{"size": ' + b" " * 200_000 + annotation()[9:])
    (sound.root / "train/ann/a04.png.json").unlink()
    (sound.root / "train/ann/a04.png.json").symlink_to("a05.png.json")
    (sound.root / "train/ann/a06.png.json").unlink()
    (sound.root / "train/ann/a06.png.json").symlink_to("nowhere")
    expected = found(verify(sound.root, processes=1))
    monkeypatch.setattr("blobdir.verifying.looking.MANY", 1)
    monkeypatch.setattr("blobdir.verifying.annotations.FILES", 7)
    if interpreter:
        (tmp_path / "python-that-dies").symlink_to("/bin/false")
        monkeypatch.setattr(sys, "executable", str(tmp_path / interpreter))
    report = verify(sound.root, processes=2)
    assert found(report) == expected
    assert report.annotations == 40
    assert {code for code, *_ in expected} >= {"annotation-invalid", "class-unknown", "tag-unknown"}


def test_packed_annotations_are_looked_at(tmp_path):
    for part in ("img", "ann"):
        (tmp_path / "source/train" / part).mkdir(parents=True)
    (tmp_path / "source/meta.json").write_text(json.dumps(META))
    for i in range(4):
        (tmp_path / f"source/train/img/{i}.png").write_bytes(picture(i))
        (tmp_path / f"source/train/ann/{i}.png.json").write_bytes(annotation() if i else b"[]")
    blobdir.pack(tmp_path / "source", tmp_path / "p", blobdir.PackOptions(annotations="packed", processes=1))
    report = verify(tmp_path / "p")
    assert codes(report) == {"annotation-invalid": 1}
    assert report.annotations == 4


@given(st.lists(st.one_of(st.binary(max_size=20), st.sampled_from(BEGINNINGS).map(lambda head: head + b"more"))))
@settings(deadline=None)
def test_beginnings_of_images(datas):
    heads = np.zeros((len(datas), HEAD), np.uint8)
    for i, data in enumerate(datas):
        heads[i, : len(data[:HEAD])] = np.frombuffer(data[:HEAD], np.uint8)
    lengths = np.array([len(data) for data in datas], np.int64)
    assert are_images(heads, lengths).tolist() == [is_image(data[:HEAD]) for data in datas]


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_heads_of_ranges(tmp_path_factory, data):
    """Ranges at every place of the windows, past the end, overlapping, empty."""
    content = data.draw(st.binary(max_size=300))
    starts = np.array(data.draw(st.lists(st.integers(0, 320), max_size=30)), np.int64)
    ends = starts + np.array(
        data.draw(st.lists(st.integers(0, 40), min_size=len(starts), max_size=len(starts))), np.int64
    )
    path = tmp_path_factory.getbasetemp() / "heads"
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("blobdir.verifying.contents.WINDOW", 32)
        heads, digest = read_through(str(path), starts, ends, lambda n: None, checksum=True)
    assert digest == hashlib.sha256(content).hexdigest()
    for head, start, end in zip(heads, starts.tolist(), ends.tolist(), strict=True):
        assert head.tobytes() == content[start:end][:HEAD].ljust(HEAD, b"\0")


def test_ctrl_c_does_not_wait_for_blobs_that_are_being_read(tmp_path, monkeypatch):
    """Terabytes may be left of them."""

    def read_on(_full, _starts, _ends, progress, *, checksum):
        assert isinstance(checksum, bool)
        while True:
            progress(0)
            time.sleep(0.01)

    def interrupted(_path):
        raise KeyboardInterrupt

    made = Builder(tmp_path / "p")
    made.blob("train", "b", {"1.png": picture(1)})
    monkeypatch.setattr("blobdir.verifying.blobs.read_through", read_on)
    monkeypatch.setattr("blobdir.verifying.blobs.Members.of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        verify(made.root, processes=1)


def test_a_blob_that_is_nothing_but_a_hole_is_not_read(tmp_path):
    made = Builder(tmp_path / "p")
    made.blob("train", "b", {"1.png": picture(1)})
    (blob,) = (made.root / "blob").glob("*.tar")
    os.truncate(blob, 4 << 40)
    findings = verify(made.root, processes=1).findings
    assert [f.path for f in findings if f.code == "unreadable"] == [f"blob/{blob.name}"]
