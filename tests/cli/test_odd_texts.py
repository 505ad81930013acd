"""Texts of projects that go to a terminal or into a report: one line that does nothing there, whatever the command."""

from __future__ import annotations

import json
import logging
import os
import unicodedata

import pytest
from changes.samples import META, annotation, box, packed, picture, write

from blobdir.cli.app import run
from blobdir.mounting.background import start_log
from blobdir.wording import one_line

EVIL = "a\x1b]0;evil\x07\x1b[2J\r\nb\u202ec\u2028d\ud800e\x9b31m" + "\nz" * 20_000
NAME = os.fsdecode(b"im\x1b[31m\nage\xff.png")
DATASET = "tra\x1b[2Jin\n\u202e"
COMMANDS = {
    "info": ["info", "p"],
    "info of a file": ["info", f"p/{DATASET}/img/{NAME}"],
    "ls": ["ls", "-R", "p"],
    "ls -l": ["ls", "-lR", "p"],
    "tree": ["tree", "p"],
    "stats": ["stats", "p"],
    "stats --plot": ["stats", "p", "--plot", "plot.png"],
    "verify": ["verify", "p"],
    "verify --decode": ["verify", "--decode", "p"],
    "verify --for": ["verify", "--for", "supervisely", "p"],
    "verify --repair": ["verify", "--repair", "--dry-run", "p"],
    "preview": ["preview", "p", "-o", "sheet.png"],
    "preview, large": ["preview", "p", "--large", "-o", "sheet.pdf"],
    "preview of nothing": ["preview", "p", "--filter", EVIL, "-o", "sheet.png"],
    "preview of a page": ["preview", "p", "-o", "sheet.html"],
    "convert to coco": ["convert", "p", "out", "--to", "coco"],
    "convert to yolo": ["convert", "p", "out", "--to", "yolo"],
    "convert to voc": ["convert", "p", "out", "--to", "voc"],
    "subset": ["subset", "p", "out", "--dataset", DATASET],
    "subset by class": ["subset", "p", "out", "--class", "c"],
    "subset of what isn't there": ["subset", "p", "out", "--dataset", "trian"],
    "pack": ["pack", "source", "out"],
    "pack, dry": ["pack", "--dry-run", "source", "out"],
    "add": ["add", "--dry-run", "p", DATASET, "new.png"],
    "add twice": ["add", "p", DATASET, f"source/{DATASET}/{NAME}"],
    "remove": ["remove", "--dry-run", "p", f"{DATASET}/{NAME}"],
    "move": ["move", "--dry-run", "p", f"{DATASET}/{NAME}", "val"],
    "compact": ["compact", "--dry-run", "p"],
    "merge": ["merge", "--dry-run", "p", "other"],
    "unpack": ["unpack", "p", "out"],
    "cp": ["cp", "-r", f"p/{DATASET}", "copies"],
    "cp of what is damaged": ["cp", f"p/{DATASET}/img/{NAME}", f"p/{DATASET}/ann/none", "."],
    "push": ["push", "--dry-run", "p", "memory://odd-texts/p"],
    "offsets": ["offsets", "blob.tar"],
    "export": ["export", "erofs", "p", "-o", "p.erofs"],
    "cat of what isn't there": ["cat", f"p/{EVIL[:60]}"],
    "a command that isn't there": [EVIL],
    "an option that isn't there": ["ls", f"--{EVIL}", "p"],
    "a choice that isn't there": ["convert", "p", "out", "--to", EVIL],
    "debug": ["--debug", "cat", f"p/{EVIL[:60]}"],
}
NAMES = ("ls", "ls -l", "tree")
"""What goes into a pipe as it is: other programs want names."""
LINE = 30_000
"""Characters of a line: of 4,096, each may be written as six."""


@pytest.fixture
def base(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd = [box(EVIL), box("c") | {"geometryType": EVIL}, box("c") | {"color": EVIL}, box("c")]
    images = {
        f"{DATASET}/{NAME}": picture(1),
        f"{DATASET}/b.png": picture(2),
        f"{DATASET}/damaged.png": picture(6)[:-20],
    }
    packed(tmp_path / "p", images)
    packed(tmp_path / "other", {"more\x1b/c.png": picture(3)})
    meta = META | {
        "classes": [{"title": title, "shape": "any", "color": EVIL} for title in ("c", f"{EVIL}2")],
        "tags": [{"name": EVIL, "value_type": EVIL, "color": "#00FF00"}],
    }
    write(tmp_path / "p/meta.json", json.dumps(meta).encode())
    write(tmp_path / f"p/{DATASET}/ann/{NAME}.json", annotation(objects=odd, tags=[{"name": f"{EVIL}3"}]))
    write(tmp_path / f"p/{DATASET}/ann/b.png.json", f'{{"{"x" * 9000}'.encode())
    write(tmp_path / f"p/{DATASET}/ann/none\x1b\n.png.json", annotation())
    write(tmp_path / f"source/{DATASET}/{NAME}", picture(4))
    write(tmp_path / f"source/{DATASET}/text\x1b\n.txt", b"x")
    write(tmp_path / f"source/{DATASET}/no picture\x1b\n.png", b"x")
    write(tmp_path / "new.png", picture(5))
    write(tmp_path / "blob.tar", next((tmp_path / "other/blob").glob("*.tar")).read_bytes())
    return tmp_path


def harmful(text):
    """Characters that do something to a terminal, or to the order of what it shows."""
    found = {char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    return found - {"\n", "\u200c", "\u200d"}


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
@pytest.mark.parametrize("what", COMMANDS)
def test_no_text_does_anything(base, monkeypatch, capfdbinary, what, terminal):
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal, raising=False)
    run(COMMANDS[what])
    out, err = (part.decode("utf-8", "surrogateescape") for part in capfdbinary.readouterr())
    assert harmful(err) == set()
    assert what == "debug" or "Traceback" not in err
    assert max(map(len, err.split("\n"))) < LINE
    if terminal or what not in NAMES:
        assert harmful(out) == set()
        assert max(map(len, out.split("\n"))) < LINE
    else:
        assert NAME in out


AS_JSON = {
    "info": ["info", "--json", "p"],
    "ls": ["ls", "--json", "-R", "p"],
    "stats": ["stats", "--json", "p"],
    "verify": ["verify", "--json", "p"],
    "pack": ["pack", "--json", "source", "out"],
    "convert": ["convert", "--json", "p", "out", "--to", "coco"],
    "status": ["status", "--json"],
    "cache": ["cache", "info", "--json"],
}


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
@pytest.mark.parametrize("what", AS_JSON)
def test_json_stays_json(base, monkeypatch, capfdbinary, what, terminal):
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal, raising=False)
    run(AS_JSON[what])
    out = capfdbinary.readouterr().out
    assert out.isascii()
    assert harmful(out.decode()) == set()
    json.loads(out)


def test_all_commands_that_say_something_are_here():
    from blobdir.cli.app import _LazyGroup

    said = {words[0] for words in (*COMMANDS.values(), *AS_JSON.values())}
    assert set(_LazyGroup.modules) - said == {"completion", "fetch", "index", "mount", "umount"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b", "a b"),
        ("日本語 עברית é", "日本語 עברית é"),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
        ("Screen\u202fshot\u00a0", "Screen\u202fshot\u00a0"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\r\t\0\x7f\x9b", "a\\x0ab\\x0d\\x09\\x00\\x7f\\u009b"),
        ("\udcff", "\\xff"),
        ("\ud800", "\\ud800"),
        ("\u202e\u2066\u2028\ufeff", "\\u202e\\u2066\\u2028\\ufeff"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_one_line(text, shown):
    assert one_line(text) == shown


@pytest.mark.parametrize("most", [10, 99, 1000])
def test_long_texts_keep_both_ends(most):
    found = one_line("ab" + "x" * 5000 + "yz", most)
    assert found.startswith("ab")
    assert found.endswith("yz")
    assert len(found) == most + 1


def test_messages_of_mounts_are_one_line(tmp_path):
    log = logging.getLogger("blobdir")
    before = log.handlers[:], log.level, log.propagate
    try:
        start_log(str(tmp_path / "log"), foreground=True)
        log.warning("%s: cut short", EVIL[:50])
        lines = (tmp_path / "log").read_text().splitlines()
    finally:
        log.handlers[:], log.level, log.propagate = before[0], before[1], before[2]
    assert len(lines) == 1
    assert harmful(lines[0]) == set()
