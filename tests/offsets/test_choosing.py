"""Which members of a real tar are images, what is left out, and what is said of it."""

from __future__ import annotations

import re
import warnings

import pytest
from tarscan_cases import END, header, member, pax

import blobdir
from blobdir.cli.app import run
from blobdir.errors import BlobdirWarning, OffsetsConflictError, UnsupportedMemberError
from blobdir.offsets import offsets_of_tar, read_offsets

PNG = b"\x89PNG\r\n\x1a\n"
DOUBLE = bytes.fromhex("00051607") + bytes(40)
HIDDEN = [
    b".git/x.png",
    b"./.git/x.png",
    b"d/.cache/d/x.png",
    b"..d/x.png",
    b"._a.png",
    b"./._a.png",
    b".DS_Store",
    b".a.png",
    b"imgs/.b.png",
    b"__MACOSX/imgs/b.png",
    b"d/Thumbs.db",
]
LEFT_OUT = {
    "symbolic link": member(b"odd.png", kind=b"2", link=b"a.png"),
    "device": member(b"odd.png", kind=b"3"),
    "sparse": member(b"odd.png", b"1", kind=b"S"),
    "sparse, pax": pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.name", b"odd.png")) + member(b"x", b"1"),
    "another volume's": member(b"odd.png", b"1", kind=b"M"),
    "link to nothing": member(b"odd.png", kind=b"1", link=b"nothing"),
    "long name": pax((b"path", b"odd.png" + b"x" * 300)) + member(b"odd.png", b"1"),
    "no file's name": pax((b"path", b"odd.png/..")) + member(b"x", b"1"),
    "no name": member(b"odd.png", b"1") + member(b"odd.png", b"2"),
}


def tar_of(folder, *members, name="x.tar"):
    path = folder / name
    path.write_bytes(b"".join(members) + END)
    return path


def names_and_warnings(path, **options):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        table = offsets_of_tar(path, **options)
    assert all(issubclass(one.category, BlobdirWarning) for one in said)
    return [name.decode() for name in table.names()], [str(one.message) for one in said]


@pytest.mark.parametrize("name", HIDDEN)
@pytest.mark.parametrize("way", ["plain", "wanted", "asked for"])
def test_hidden_files_are_no_images_unless_asked_for(tmp_path, name, way):
    path = tar_of(tmp_path, member(name, DOUBLE), member(b"c.png", PNG))
    options = {"plain": {}, "wanted": {"filter_func": lambda n: True}}.get(way, {"hidden": True})
    found, said = names_and_warnings(path, **options)
    assert found == ["c.png"] if way != "asked for" else len(found) == 2
    assert len(said) == (way == "plain")
    assert all(str(path) in one and name.decode() in one and "byte 512" in one for one in said)


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        ([], ["a.png", "notes"]),
        (["*.png"], ["a.png"]),
        (["*"], ["a.json", "a.png", "notes"]),
        ([".*"], ["._a.png"]),
        ([".*", "a*"], ["._a.png", "a.json", "a.png"]),
    ],
)
def test_patterns_as_in_a_shell(tmp_path, patterns, found):
    path = tar_of(tmp_path, *(member(name, PNG) for name in (b"./._a.png", b"./a.png", b"./a.json", b"./notes")))
    arguments = [argument for pattern in patterns for argument in ("--filter", pattern)]
    assert run(["offsets", "-q", *arguments, str(path)]) == 0
    assert sorted(info.name for info in read_offsets(tmp_path / "x_offsets.pkl")) == found


@pytest.mark.parametrize("what", ["json", "txt", "cls", "npy", "caption.txt", "JSON"])
@pytest.mark.parametrize("way", ["offsets", "added"])
def test_what_webdataset_keeps_beside_an_image_is_none(tmp_path, what, way):
    """A shard of n images and n JSON files has n images; annotations by themselves stay members."""
    images = [b"s/%03d.seg.jpg" % i for i in range(3)]
    sides = [member(b"s/%03d.%s" % (i, what.encode()), b"{}") for i in range(4)]
    path = tar_of(tmp_path, *(side + member(name, PNG) for name, side in zip(images, sides, strict=False)), sides[3])
    expected = ["000.seg.jpg", "001.seg.jpg", "002.seg.jpg", f"003.{what}"]
    if way == "added":
        project = blobdir.Project.create(tmp_path / "p")
        with pytest.warns(BlobdirWarning, match="3 files that go with images"):
            project.add_blob_file(path, "train")
        assert list(blobdir.open_project(tmp_path / "p")["train"].names) == expected
        return
    found, said = names_and_warnings(path)
    assert found == expected and len(said) == 1 and "byte" in said[0]
    assert len(names_and_warnings(path, filter_func=lambda name: True)[0]) == 7
    only_sides = tar_of(tmp_path, *sides, name="ann.tar")
    assert len(names_and_warnings(only_sides)[0]) == 4


@pytest.mark.parametrize("way", ["python", "command"])
@pytest.mark.parametrize("what", LEFT_OUT)
def test_what_cannot_be_served_costs_nothing_else(tmp_path, what, way, capfd):
    """It is named with the tar and the byte, unless a filter drops it; strict refuses."""
    path = tar_of(tmp_path, member(b"a.png", PNG), LEFT_OUT[what], member(b"c.png", PNG + b"2"))
    both = ["a.png", *["odd.png"] * (what == "no name"), "c.png"]
    if way == "python":
        found, said = names_and_warnings(path)
        dropped = names_and_warnings(path, filter_func=lambda name: not name.startswith("odd"), strict=True)
        with pytest.raises(UnsupportedMemberError, match="odd.png") as caught:
            offsets_of_tar(path, strict=True)
        assert caught.value.path == str(path)
    else:
        pickle = tmp_path / "x_offsets.pkl"
        assert run(["offsets", str(path)]) == 0
        found, said = [info.name for info in read_offsets(pickle)], capfd.readouterr().err.splitlines()
        pickle.unlink()
        assert run(["offsets", "--strict", str(path)]) == 6 and not pickle.exists()
        assert "odd.png" in capfd.readouterr().err
        assert run(["offsets", "--strict", "--filter", "[ac].png", str(path)]) == 0
        dropped = [info.name for info in read_offsets(pickle)], capfd.readouterr().err.splitlines()
    assert found == both and len(said) == 1
    assert str(path) in said[0] and re.search(r"odd\.png.* at byte \d+", said[0])
    assert dropped == (["a.png", "c.png"], [])


@pytest.mark.parametrize("what", [what for what in LEFT_OUT if what not in ("no name", "long name", "no file's name")])
def test_what_comes_in_the_place_of_a_file_counts(tmp_path, what):
    """Readers of tars have the last of one name, whatever it is: the bytes of before are nobody's."""
    path = tar_of(tmp_path, member(b"odd.png", PNG), member(b"b.png", PNG), LEFT_OUT[what])
    found, said = names_and_warnings(path)
    is_made = what != "link to nothing"
    assert found == ["b.png"] if is_made else ["odd.png", "b.png"]
    assert any("replaces further on" in one for one in said) == is_made
    before = tar_of(tmp_path, LEFT_OUT[what], member(b"odd.png", PNG), name="before.tar")
    assert names_and_warnings(before)[0] == ["odd.png"]


@pytest.mark.parametrize("mode", ["error", "skip", "replace", "rename"])
@pytest.mark.parametrize("other", [b"a.png", b"./a.png"])
def test_the_last_of_one_full_name_counts(tmp_path, mode, other):
    """As `tar --append` means it, unless something else is asked for."""
    path = tar_of(tmp_path, member(b"a.png", PNG), member(b"b.png", PNG), member(other, PNG + b"new"))
    found = (
        {name: end - start for name, start, end in offsets_of_tar(path, None, mode).entries()}
        if mode != "error"
        else {}
    )
    if mode == "error":
        with pytest.warns(BlobdirWarning, match=r"x\.tar: left out 1 member .*again.*'a\.png' at byte 512"):
            found = {name: end - start for name, start, end in offsets_of_tar(path).entries()}
    assert found[b"a.png"] == len(PNG) + 3 * (mode in ("error", "replace"))
    assert len(found) == 2 + (mode == "rename")


@pytest.mark.parametrize("way", ["python", "command", "added"])
def test_two_members_of_one_base_name_are_both_named(tmp_path, way, capfd):
    path = tar_of(tmp_path, member(b"one/a.png", PNG), member(b"two/a.png", PNG + b"2"))
    said = r"x\.tar: 'one/a\.png' \(bytes 512 to 520\) and 'two/a\.png' \(bytes 1536 to 1545\)"
    if way == "command":
        assert run(["offsets", str(path)]) == 6
        assert re.search(said, capfd.readouterr().err)
        return
    project = blobdir.Project.create(tmp_path / "p")
    call = offsets_of_tar if way == "python" else lambda tar: project.add_blob_file(tar, "train")
    with pytest.raises(OffsetsConflictError, match=said) as caught:
        call(path)
    assert caught.value.path == str(path)


def test_links_to_one_member_are_no_conflict(tmp_path):
    path = tar_of(tmp_path, member(b"one/a.png", PNG), header(b"two/a.png", kind=b"1", link=b"one/a.png"))
    assert names_and_warnings(path) == (["a.png"], [])


def test_a_name_that_cannot_be_numbered_is_of_a_tar(tmp_path):
    long = b"n" * 255
    path = tar_of(tmp_path, *(pax((b"path", b"%d/" % i + long)) + member(b"x", b"%d" % i) for i in range(2)))
    with pytest.raises(blobdir.BlobdirError, match=r"x\.tar: .*too long to be numbered"):
        offsets_of_tar(path, on_conflict="rename")


def test_one_of_a_thing_is_in_the_singular(tmp_path, capfd):
    path = tar_of(tmp_path, member(b"a.png", PNG), member(b"s.png", kind=b"2", link=b"a.png"))
    assert run(["offsets", str(path)]) == 0
    said = "".join(capfd.readouterr())
    assert "1 member," in said and "1 symbolic link:" in said and not re.search(r"\b1 \w+s\b", said)


def test_a_filter_that_takes_nothing_is_an_error(tmp_path, capfd):
    path = tar_of(tmp_path, member(b"a.png", PNG))
    assert run(["offsets", "--filter", "*.jpg", "--filter", "*.gif", str(path)]) == 2
    assert "no member is like *.jpg or *.gif; nothing was written" in capfd.readouterr().err
    assert not (tmp_path / "x_offsets.pkl").exists()


@pytest.mark.parametrize("form", ["./%s", "/%s", ".//%s"])
def test_files_beside_an_image_by_any_name_of_its(tmp_path, form):
    path = tar_of(tmp_path, member(b"s/a.png", PNG), member((form % "s/a.json").encode(), b"{}"))
    assert names_and_warnings(path)[0] == ["a.png"]


def test_folders_that_only_begin_with_dots(tmp_path):
    path = tar_of(tmp_path, *(member(name, PNG) for name in (b"./a.png", b"../b.png", b"d/./c.png", b"d/../e.png")))
    assert names_and_warnings(path) == (["a.png", "b.png", "c.png", "e.png"], [])


@pytest.mark.parametrize(("pattern", "found"), [("*", ["a.png"]), (".*", ["x.png"]), (".git/*", ["x.png"])])
def test_patterns_and_dot_folders(tmp_path, pattern, found):
    path = tar_of(tmp_path, member(b"./a.png", PNG), member(b"./s/.git/x.png", PNG))
    assert run(["offsets", "-q", "--filter", pattern, str(path)]) == 0
    assert [info.name for info in read_offsets(tmp_path / "x_offsets.pkl")] == found
