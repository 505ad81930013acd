"""Which tars a place means: braces, wildcards, names as they are."""

from __future__ import annotations

import subprocess
import tarfile

import pytest
from blob_builder import Builder

from blobdir.cli.app import run
from blobdir.discovery.tarplaces import expand, expand_braces, literal, looks_like_tars, plain, split_pattern
from blobdir.errors import UsageError
from blobdir.opening import tar_place

BRACES = [
    "a", "{a}", "x{0..3}", "{0000..0012}.tar", "{a,b}{c,d}", "{a,b{1..3},}", "{5..3}", "{a..e}", "{e..a..2}",
    "{0..10..5}", "{01..3}", "{-1..1}", "{a,{b,c}d}x", "a{b", "a}b", "{a,b", "{{a,b}}", "{a},{b,c}",
    "a{b}{c,d}", "{08..11}",
]  # fmt: skip


@pytest.mark.parametrize("pattern", BRACES)
def test_braces_are_those_of_bash(pattern: str) -> None:
    said = subprocess.run(["bash", "-c", f"printf '%s\\n' {pattern}"], capture_output=True, check=True, text=True)
    assert [found for found in expand_braces(pattern) if found] == said.stdout.split()


@pytest.mark.parametrize(
    ("pattern", "word"),
    [("{}", "nothing in its braces"), ("{0..100000}", "more than 100,000"), ("{0..999}{0..999}", "more than 100,000")],
)
def test_braces_that_are_refused(pattern: str, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        expand_braces(pattern)


@pytest.mark.parametrize("name", ["a.tar", "a[1].tar", "{a,b}.tar", "*?.tar", "[{]x", "{0..3}"])
def test_a_literal_is_that_name_and_no_other(name: str) -> None:
    assert list(expand(literal(name), lambda _: pytest.fail("nothing is listed"))) == [name]
    assert plain(literal(name)) == name


TREE = {
    "": [("b.tar", False), ("a.tar", False), (".c.tar", False), ("d", True), ("e", True), ("x", False)],
    "d": [("1.tar", False), ("2.tar", False), ("3.tar", True)],
    "e": [("1.tar", False)],
}


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.tar", ["a.tar", "b.tar"]),
        ("{b,a}.tar", ["b.tar", "a.tar"]),
        ("{e,d}/*.tar", ["e/1.tar", "d/1.tar", "d/2.tar"]),
        ("*/1.tar", ["d/1.tar", "e/1.tar"]),
        (".*.tar", [".c.tar"]),
        ("?.tar", ["a.tar", "b.tar"]),
        ("[!a].tar", ["b.tar"]),
        ("d/[12].tar", ["d/1.tar", "d/2.tar"]),
        ("nothing/*", []),
    ],
)
def test_patterns(pattern: str, found: list[str]) -> None:
    assert list(expand(pattern, lambda folder: TREE.get(folder, []))) == found


@pytest.mark.parametrize(
    ("place", "root", "pattern"),
    [
        ("s3://bucket/train-{000000..000003}.tar", "s3://bucket/", "train-{000000..000003}.tar"),
        ("s3://bucket/a/x.tar", "s3://bucket/a/", "x.tar"),
        ("https://host/a%20b/c%5B1%5D.tar", "https://host/a%20b/", "c[[]1].tar"),
        ("simplecache::s3://b/d/*.tar", "simplecache::s3://b/d/", "*.tar"),
        ("memory://a.tar", "memory://", "a.tar"),
        ("/nowhere/{a,b}/x.tar", "/nowhere", "{a,b}/x.tar"),
        ("file:///nowhere/x*.tar", "/nowhere", "x*.tar"),
        ("/nowhere/{a,A}.{tar,TAR}", "/nowhere", "{a,A}.{tar,TAR}"),
        ("/nowhere/a.{txt,t{ar,gz}}", "/nowhere", "a.{txt,t{ar,gz}}"),
    ],
)
def test_places_of_tars(place: str, root: str, pattern: str) -> None:
    assert tar_place(place) == (root, pattern)


@pytest.mark.parametrize(
    "place",
    [
        "s3://bucket.tar",
        "s3://bucket/project",
        "/nowhere/x",
        "/nowhere/{a,b}.{txt,star}",
        "/nowhere/{}",
        "https://host/x.tar?a=b",
        "s3://bucket/x.tar/",
        "/",
    ],
)
def test_places_of_projects(place: str) -> None:
    assert tar_place(place) is None


def test_a_question_mark_in_a_url_is_no_wildcard() -> None:
    assert not looks_like_tars("host/a?b.tarx", is_url=True) and looks_like_tars("a?b.tarx", is_url=False)
    assert split_pattern("host/a?b/x*.tar", is_url=True) == ("host/a?b/", "x*.tar")


@pytest.mark.parametrize("pattern", ["{}/x-*.tar", "{}/x-{{0..1}}.tar", "{}/blob/*.tar", "{}/*/x-?.tar"])
@pytest.mark.parametrize("options", [[], ["--layout", "files"]])
def test_tars_that_a_pattern_matches_are_nearer_than_the_project_above(tmp_path, capsys, pattern, options):
    """As those are that are named one by one; where it matches none, it's a pattern in the project."""
    made = Builder(tmp_path / "p")
    made.loose("meta.json", b'{"classes": [], "tags": []}')
    made.loose("train/img/a.jpg", b"image")
    for place in (made.root, made.root / "blob"):
        place.mkdir(exist_ok=True)
        for number in range(2):
            with tarfile.open(place / f"x-{number}.tar", "w") as tar:
                tar.add(made.root / "train/img/a.jpg", f"in{number}.jpg")
    typed = pattern.format(made.root)
    assert run(["ls", *options, typed]) == 0
    assert capsys.readouterr().out.split()[-2:] == ["in0.jpg", "in1.jpg"]
    assert run(["ls", f"{made.root}/train/img/*"]) == 0
    assert "a.jpg" in capsys.readouterr().out
    assert run(["ls", f"{made.root}/y-*.tar"]) == 4
    assert "nothing in" in capsys.readouterr().err
