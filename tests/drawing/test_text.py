"""Names in pictures: in any script, never as boxes, and those that differ look different."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image, ImageFont, features

from blobdir.drawing import fontfiles, text
from blobdir.drawing.text import Typesetter, in_order_of_place, runs

WORDS = {
    "Latin": ("Käse", "Kase"),
    "Greek": ("γάτα", "σκύλος"),
    "Cyrillic": ("кот", "пёс"),
    "Hebrew": ("שלום", "חתול"),
    "Arabic": ("قطة", "كلب"),
    "Chinese": ("猫", "狗"),
    "Japanese": ("ネコ", "いぬ"),
    "Korean": ("고양이", "개"),
    "Devanagari": ("बिल्ली", "कुत्ता"),
    "Thai": ("แมว", "หมา"),
    "emoji": ("😀", "👍"),
    "no script at all": ("\ue123\U0010fffd", "\ue124\U0010fffc"),
    "line breaks": ("a\nb", "a\tb"),
    "spaces": ("a b", "a\u00a0b"),
    "nothing to be seen": ("ab", "a\u200bb"),
    "signs that turn the direction": ("ab", "a\u202eb"),
    "joiners that join nothing": ("ab", "a\u200db"),
    "bytes": ("\udcff", "\udcfe"),
    "long, other at the end": ("n" * 249 + "a", "n" * 249 + "b"),
    "long, other in the middle": ("n" * 125 + "a" + "n" * 124, "n" * 125 + "b" + "n" * 124),
    "long, of bytes": ("\udcff" * 250, "\udcff" * 120 + "\udcfe" + "\udcff" * 129),
}
SCRIPTS = [*WORDS][:11]


@pytest.fixture(scope="session")
def fonts():
    """Fonts with which CI tries this: scripts/test installs them."""
    found = {path.rpartition("/")[2] for path in fontfiles.font_files()}
    for name in ("DejaVuSans.ttf", "unifont.otf", "unifont_upper.otf"):
        if name not in found:
            pytest.skip(f"{name} isn't on this machine: apt-get install fonts-dejavu-core fonts-unifont")


@pytest.fixture
def no_fonts(monkeypatch):
    """A machine without any."""
    monkeypatch.setattr(text, "_files", lambda: ())
    for cached in (text.runs, text._font_of):
        cached.cache_clear()
    yield
    for cached in (text.runs, text._font_of):
        cached.cache_clear()


def written(letters, *words, width=300):
    cut = letters.fitting(words, width)
    found = []
    for word in words:
        image = Image.new("RGB", (width + 20, letters.height + 4), (255, 255, 255))
        letters.draw(image, 2, 2, cut[word], (0, 0, 0))
        found.append(image)
    return found


@pytest.mark.parametrize("size", [11, 12, 20])
@pytest.mark.parametrize("what", WORDS)
def test_two_names_do_not_look_the_same(what, size):
    first, second = written(Typesetter(size), *WORDS[what])
    assert first.tobytes() != second.tobytes()
    assert min(image.convert("L").getextrema()[0] for image in (first, second)) < 160


@pytest.mark.parametrize("what", WORDS)
def test_nor_do_they_without_fonts(no_fonts, what):
    first, second = written(Typesetter(12), *WORDS[what])
    assert first.tobytes() != second.tobytes()


@pytest.mark.parametrize("what", SCRIPTS)
def test_every_script_has_a_font(fonts, what):
    for word in WORDS[what]:
        assert not any(run.code for run in runs(word)), runs(word)
        for run in runs(word):
            assert all(text.has(run.path, char) for char in run.text if char.isprintable())


@pytest.mark.parametrize("word", ["中", "\U0010fffd", "\n", "\u202e", "\u200b", "\u00a0"])
def test_what_cannot_be_written_is_a_number(no_fonts, word):
    (run,) = runs(word)
    assert run == (f"U+{ord(word):04X}", text.BUILTIN, True)
    assert runs("\udcff")[0].text == "\\xFF"


@pytest.mark.parametrize("word", ["e\u0301", "👍🏽", "👨\u200d👩\u200d👧", "🇩🇪", "❤\ufe0f", "बि", "می\u200cخ"])
def test_what_belongs_together_is_not_cut(word):
    parts = text.clusters(f"a{word}b")
    assert (parts[0], parts[-1]) == ("a", "b")
    assert len(parts) <= (3 if word not in ("می\u200cخ", "बि") else 4)


def test_from_right_to_left(fonts):
    if not features.check("raqm"):
        pytest.skip("Pillow has no Raqm here: apt-get install libfribidi0")
    letters = Typesetter(20)
    alone, joined, beside = written(letters, "كلب", "ككك", "ABC كلب")
    assert alone.tobytes() != joined.tobytes()
    # What is read first stands on the right.
    ink = np.asarray(beside.convert("L")) < 128
    assert ink[:, :50].any()
    one, two = written(letters, "אב", "בא")
    half = letters.width("א") + 2
    left = np.asarray(two.convert("L"))[:, : int(half)]
    np.testing.assert_array_equal(np.asarray(written(letters, "א")[0].convert("L"))[:, : int(half)], left)
    assert one.tobytes() != two.tobytes()


@pytest.mark.parametrize(
    ("logical", "seen"),
    [
        ("abc", "abc"),
        ("אבג", "גבא"),
        ("abc אבג", "abc גבא"),
        ("אבג abc", "abc גבא"),
        ("אב 12", "12 בא"),
        ("אב גד", "דג בא"),
    ],
)
def test_without_raqm_letters_are_turned_around(logical, seen):
    assert in_order_of_place(logical) == seen


def test_without_raqm_a_path_begins_on_the_left():
    assert in_order_of_place("אבג/x.png", "L") == "גבא/x.png"
    assert in_order_of_place("אבג/x.png") == "x.png/גבא"


def test_texts_that_fit_are_left_alone_and_others_get_narrow():
    letters = Typesetter(12)
    names = ["short.png", "x" * 300, "train/" + "y" * 200 + ".png", "猫" * 200, "\n" * 100]
    cut = letters.fitting(names, 150)
    assert cut["short.png"] == "short.png"
    assert all(letters.width(one) <= 150 for one in cut.values())
    assert cut[names[2]].startswith("train/")
    assert cut[names[2]].endswith(".png")
    assert letters.fitting(["abc"], 0) == {"abc": "…"}


@pytest.mark.parametrize("damage", ["nothing", "cut off", "noise", "a table beyond the end", "no such file"])
def test_damaged_fonts_are_passed_by(tmp_path, damage):
    table = struct.pack(">HHHHIHHIIIIII", 0, 1, 3, 10, 12, 12, 0, 28, 0, 1, 65, 90, 3)
    good = b"\0\1\0\0" + struct.pack(">HHHH", 1, 16, 0, 0) + b"cmap" + struct.pack(">III", 0, 28, len(table)) + table
    path = tmp_path / "f.ttf"
    path.write_bytes(good)
    assert fontfiles.characters(str(path)).tolist() == [*range(65, 91)]
    bad = {
        "nothing": b"",
        "cut off": good[:-9],
        "noise": bytes(range(256)) * 4,
        "a table beyond the end": good.replace(struct.pack(">II", 28, len(table)), struct.pack(">II", 1 << 30, 99)),
    }
    other = tmp_path / f"{damage}.ttf"
    if damage in bad:
        other.write_bytes(bad[damage])
    assert fontfiles.characters(str(other)).tolist() == []


def test_characters_are_those_that_the_font_draws(fonts):
    """Against Pillow: what it draws as the sign for a missing glyph isn't among the characters."""
    path = next(path for path in fontfiles.font_files() if path.endswith("DejaVuSans.ttf"))
    font = ImageFont.truetype(path, 20, layout_engine=ImageFont.Layout.BASIC)
    missing = font.getmask("\U0010ffff")
    known = set(fontfiles.characters(path).tolist())
    for number in [*range(0x21, 0x7F), *range(0x370, 0x600), *range(0x4E00, 0x4E40), *range(0x1F600, 0x1F650)]:
        mask = font.getmask(chr(number))
        same = (mask.size, bytes(mask)) == (missing.size, bytes(missing))
        assert same == (number not in known), hex(number)


def test_fonts_that_show_something_else_are_left_out(monkeypatch, tmp_path):
    folder = tmp_path / "fonts"
    folder.mkdir()
    for name in ("LastResort.ttf", "unifont_sample.ttf", "Good.ttf", "a.pcf.gz"):
        (folder / name).write_bytes(b"")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    mine = [path for path in fontfiles.font_files() if path.startswith(str(tmp_path))]
    assert mine == [str(folder / "Good.ttf")]
    monkeypatch.setenv("PATH", "")  # no fontconfig
    assert str(folder / "Good.ttf") in fontfiles.font_files()


@pytest.mark.parametrize("path", ["ds/日本 كلب.III", "كلب/كلب.III", "ds/كلب.III"])
def test_a_path_ends_on_the_right(fonts, path):
    """Also where a run of one font begins with a word from right to left."""
    if not features.check("raqm"):
        pytest.skip("Pillow has no Raqm here: apt-get install libfribidi0")
    letters = Typesetter(20)

    def columns(word):
        image = Image.new("RGB", (400, 60), "white")
        letters.draw(image, 0, 4, word, (0, 0, 0), begins="L")
        return (np.asarray(image.convert("L")) < 128).any(axis=0)

    def bars(word):
        inked = columns(word)
        end = np.flatnonzero(inked)[-1] + 1
        return int(np.count_nonzero(np.diff(inked[end - 14 : end + 1].astype(int), prepend=0) > 0))

    assert bars(path) == bars("é.III") == 3
    assert bars(path.replace(".III", "")) < 3
