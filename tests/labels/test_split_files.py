"""Files that say a split of each image: no format has them, and no split is lost by them without a word."""

from __future__ import annotations

import json

import pytest
from label_cases import BOX, WRITERS, World
from split_cases import messages, pack, put, without_lists

WORLD = World({f"{name}.png": [("cat", BOX)] for name in ("a", "b", "17", "c d")})
TEST = ["a.png", "17.png"]
VAL = ["b.png", "c d.png"]
ROWS = [(name, "test") for name in TEST] + [(name, "val") for name in VAL]

IN_JSON = [["a.png", "17.png"], ["a", "17"], {"files": ["a", "17"]}, [{"file": "a.png"}, "17"]]
UNKNOWN = "if it has labels, they weren't read"
"""What is said of files that have the extension of a format."""


def stem(name):
    return name.removesuffix(".png")


FILES = {
    "split.csv": "image,split\n" + "".join(f"{name},{word}\n" for name, word in ROWS),
    "splits.txt": "".join(f"{name.replace(' ', '_')} {word}\n" for name, word in ROWS if " " not in name) + "b val\n",
    "meta.csv": "id;subset;note\n" + "".join(f"{stem(name)};{word.upper()};x\n" for name, word in ROWS),
    "meta.tsv": "".join(f"{i}\t{word}\t0.5\t{stem(name)}\n" for i, (name, word) in enumerate(ROWS)),
    "train_val_test_split.csv": "".join(f'"images/{name}","{word}"\n' for name, word in ROWS),
    "split.json": json.dumps({"test": TEST, "val": VAL}),
    "info.json": json.dumps({"version": 1, "splits": {"test": [*map(stem, TEST)], "val": [*map(stem, VAL)]}}),
    "names.json": json.dumps(dict(ROWS)),
    "entries.json": json.dumps([{"file": name, "label": "a", "subset": word} for name, word in ROWS]),
    "by_name.json": json.dumps({stem(name): {"split": word} for name, word in ROWS}),
    "entries.jsonl": "".join(json.dumps({"file": name, "split": word}) + "\n" for name, word in ROWS),
    "lines_split.json": "".join(json.dumps({"file": name, "split": word}) + "\n" for name, word in ROWS),
    "named.json": json.dumps({"splits": [{"name": "test", "images": TEST}, {"name": "val", "images": VAL}]}),
    "in_entries.json": json.dumps([{"split": "test", "images": TEST}, {"split": "val", "images": VAL}]),
    "pairs.json": json.dumps(ROWS),
    "columns.json": json.dumps({"image": [name for name, _ in ROWS], "split": [word for _, word in ROWS]}),
    "pandas.json": json.dumps({key: {str(i): row[j] for i, row in enumerate(ROWS)} for j, key in enumerate("ab")}),
    "marks.csv": "image,val,test\n" + "".join(f"{name},{('1,0', '0,1')[word == 'test']}\n" for name, word in ROWS),
    "keys.jsonl": "".join(json.dumps({"file": name, "train_val": word}) + "\n" for name, word in ROWS),
    "keys.ndjson": "".join(json.dumps({"file": name, "is_train": word, "n": 3}) + "\n" for name, word in ROWS),
    "keys.json": json.dumps({"n": 4, "items": [{"file": name, "w": [1], "train/test": word} for name, word in ROWS]}),
    "keys.yaml": "".join(f"- file: {name}\n  part_of: {word}\n" for name, word in ROWS),
    "keys_by_name.json": json.dumps({name: {"w": 3, "which": word} for name, word in ROWS}),
    "deep.ndjson": "".join(json.dumps({"image": {"f": name}, "meta": {"split": word}}) + "\n" for name, word in ROWS),
    "deep.json": json.dumps({"items": [{"file": name, "of": {"subset": word, "n": 3}} for name, word in ROWS]}),
    "deep.yaml": "".join(f"- image: {{file: {name}}}\n  part: {word}\n" for name, word in ROWS),
    "deep_by_name.json": json.dumps({name: {"w": 3, "of": {"split": word}} for name, word in ROWS}),
    "entries.ndjson": "".join(json.dumps({"file": name, "split": word}) + "\n" for name, word in ROWS),
    "entries.yaml": "".join(f"- file: {name}\n  split: {word}\n" for name, word in ROWS),
    "splits.yaml": "test: [a.png, 17.png]\nval:\n  - b.png\n  - c d.png\n",
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", WRITERS)
def test_files_that_say_splits_are_named(kind, name, tmp_path):
    source = without_lists(kind, tmp_path / "s", WORLD)
    put(source / name, FILES[name])
    report, _ = pack(source, tmp_path / "p", labels=kind)
    ((path, text),) = messages(report)
    said = ("3" if name == "splits.txt" else "4") + " images aren't of the split"
    assert path == name and (said in text or UNKNOWN in text)


MARKED = [{"file": name, "is_test": word == "test", "id": i} for i, (name, word) in enumerate(ROWS)]
MARKS = {
    "marked.jsonl": "".join(json.dumps(one) + "\n" for one in MARKED),
    "marked.json": json.dumps(MARKED),
    "marked.csv": "file,is_test\n" + "".join(f"{name},{int(word == 'test')}\n" for name, word in ROWS),
    "marked.yaml": "".join(f"- file: {name}\n  is_test: {word == 'test'}\n" for name, word in ROWS),
}


@pytest.mark.parametrize("name", MARKS)
@pytest.mark.parametrize("kind", ["voc", "csv"])
def test_files_that_mark_one_split_are_named(kind, name, tmp_path):
    source = without_lists(kind, tmp_path / "s", WORLD)
    put(source / name, MARKS[name])
    ((path, text),) = messages(pack(source, tmp_path / "p", labels=kind)[0])
    assert path == name and ("2 images aren't of the split" in text or UNKNOWN in text)
    put(source / name, MARKS[name].replace("is_test", "is_valid"))
    said = messages(pack(source, tmp_path / "q", labels=kind)[0])
    assert not [text for _, text in said if "split" in text]


@pytest.mark.parametrize("name", FILES)
def test_of_splits_that_are_so_nothing_is_said(name, tmp_path):
    """Folders say the same."""
    source = without_lists("voc", tmp_path / "s", World({f"{word}/{image}": [("cat", BOX)] for image, word in ROWS}))
    put(source / "more" / name, FILES[name])
    report, found = pack(source, tmp_path / "p")
    assert report.complete and sorted(found) == ["test", "val"], report.problems


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("train_val_split.json", b'{"test": ["a.png", "17.png"], }'),
        ("splits.json", b'// by me\n{"test": ["a.png"]}'),
        ("split.json", '{"by": "K\u00e4fer", "test": ["a.png"]}'.encode("latin-1")),
        ("test.json", b'["a.png", "17.png", ]'),
        ("split.yaml", b"test: [a.png, 17.png\n"),
        ("splits.yml", b"test:\n\t- a.png\n"),
    ],
)
@pytest.mark.parametrize("kind", WRITERS)
def test_those_that_can_t_be_read_are_named(kind, name, text, tmp_path):
    source = without_lists(kind, tmp_path / "s", WORLD)
    (source / name).write_bytes(text)
    ((path, said),) = messages(pack(source, tmp_path / "p", labels=kind)[0])
    assert path == name and ("split" in said or UNKNOWN in said)


@pytest.mark.parametrize("ending", ["json", "jsonl"])
@pytest.mark.parametrize(
    "content", [["a.png", "17.png"], ["a", "17"], {"files": ["a", "17"]}, [{"file": "a.png"}, "17"]]
)
@pytest.mark.parametrize("kind", WRITERS)
def test_lists_in_json_are_named(kind, content, ending, tmp_path):
    source = without_lists(kind, tmp_path / "s", WORLD)
    put(source / f"test.{ending}", json.dumps(content))
    report, _ = pack(source, tmp_path / "p", labels=kind)
    ((path, text),) = messages(report)
    assert path == f"test.{ending}" and ("2 images aren't of the split" in text or UNKNOWN in text)


@pytest.mark.parametrize("content", [[3, 17], {"ids": [17, 3]}])
def test_numbers_in_json(content, tmp_path):
    source = without_lists("coco", tmp_path / "s", World({"3.png": [("cat", BOX)], "17.png": [("cat", BOX)]}))
    put(source / "val.json", json.dumps(content))
    ((path, text),) = messages(pack(source, tmp_path / "p")[0])
    assert path == "val.json" and "2 images aren't" in text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list_eval_partition.txt", "a.png 0\nb.png 1\n17.png 2\n"),
        ("split.csv", "image,part\na.png,first\nb.png,second\n"),
        ("fold_1.json", '{"0": ["a.png"], "1": ["b.png"]}'),
    ],
)
def test_splits_in_words_that_nobody_knows_are_named(name, text, tmp_path):
    source = without_lists("cvat", tmp_path / "s", WORLD)
    put(source / name, text)
    ((path, said),) = messages(pack(source, tmp_path / "p")[0])
    assert path == name and "it can't be told which split it means" in said


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.json", json.dumps({"train": ["a.png"], "cat": ["b.png"], "dog": ["17.png"], "bird": ["c d.png"]})),
        ("classes.csv", "image,class\na.png,train\nb.png,train\n"),
        ("classes.csv", "a.png,train\nb.png,cat\n17.png,dog\nc d.png,cat\n"),
        ("history.json", json.dumps({"train": [0.5, 0.25], "val": [3, 4], "epochs": 17})),
        ("config.json", json.dumps({"train": 17, "val": "images", "names": ["a", "b"]})),
        ("pairs.json", json.dumps([["a.png", "train"], ["b.png", "cat"], ["17.png", "train"]])),
        ("columns.json", json.dumps({"image": ["a.png", "b.png"], "label": ["train", "test"]})),
        ("marks.csv", "image,train,bus,car\na.png,1,0,0\nb.png,0,1,0\n17.png,1,0,0\n"),
        ("values.csv", "name,value\na.png,3\nb.png,3\n"),
        ("image_valence.csv", "image,valence\na.png,3\nb.png,4\n"),
        ("validated.txt", "a.png\nb.png\n"),
        ("testimonials.txt", "a.png\nb.png\n"),
        ("trainers.txt", "a.png by Bob\nb.png by Ann\n"),
        ("broken.json", '{"train": ["a.png"'),
        ("deep_split.json", "[" * 100_000),
        ("split.json", "{}"),
        ("stages.jsonl", '{"file": "a.png", "stage": "test"}\n{"file": "b.png", "stage": "prod"}\n'),
        ("stages.json", json.dumps([{"f": "a.png", "type": "train"}, {"f": "b.png", "type": "car"}])),
        ("by_name.json", json.dumps({"a.png": {"mode": "test"}, "b.png": {"mode": "live"}})),
        ("splitter.txt", "train a model\non a\n"),
        ("captions.json", json.dumps([{"file": "a.png", "text": "train"}, {"file": "b.png", "label": "train"}])),
    ],
)
def test_what_says_no_splits_is_not_named(name, text, tmp_path):
    source = without_lists("yolo", tmp_path / "s", WORLD)
    put(source / name, text)
    report, _ = pack(source, tmp_path / "p")
    assert report.complete, report.problems


def test_a_table_beside_thousands_of_other_files_is_seen(tmp_path):
    source = without_lists("cvat", tmp_path / "s", WORLD)
    for i in range(1200):
        put(source / f"captions/caption_{i}.json", "{}")
    put(source / "meta.csv", FILES["meta.csv"])
    assert [path for path, _ in messages(pack(source, tmp_path / "p")[0])] == ["meta.csv"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("label_map.json", '{"1": "train", "2": "bus"}'),
        ("names.yaml", "1: train\n2: bus\n"),
        ("classes.csv", "1,train\n2,test\n"),
        ("stats.txt", "train: 4\nval: 2\n"),
        ("args.json", '{"task": "detect", "mode": "train", "device": "1"}'),
        ("config.json", '{"train": {"batch": "4"}, "val": {"batch": "2"}}'),
    ],
)
@pytest.mark.parametrize("kind", WRITERS)
def test_numbers_are_names_only_where_most_images_are_named(kind, name, text, tmp_path):
    """Images are called by numbers, and so are classes, counts and devices."""
    source = without_lists(kind, tmp_path / "s", World({f"{i}.png": [("cat", BOX)] for i in range(1, 7)}))
    put(source / name, text)
    report, _ = pack(source, tmp_path / "p", labels=kind)
    assert [text for path, text in messages(report) if "splits" in text] == []


def numbered(names, words, form):
    """A file that says a split of each of some images that are called by numbers."""
    pairs = list(zip(names, words, strict=True))
    by_word = {word: [name for name, other in pairs if other == word] for word in words}
    return {
        "id and split": lambda: "image_id,split\n" + "".join(f"{name},{word}\n" for name, word in pairs),
        "file and subset": lambda: "filename\tsubset\n" + "".join(f"{name}\t{word}\n" for name, word in pairs),
        "lists": lambda: json.dumps(by_word),
        "lists of numbers": lambda: json.dumps({word: [*map(int, some)] for word, some in by_word.items()}),
        "lists in it": lambda: json.dumps({word: {"ids": [*map(int, some)]} for word, some in by_word.items()}),
        "yaml": lambda: "".join(f"{word}: [{', '.join(some)}]\n" for word, some in by_word.items()),
        "entries": lambda: json.dumps([{"id": int(name), "split": word} for name, word in pairs]),
        "entries of two ids": lambda: json.dumps(
            [{"id": i + 1, "image_id": int(name), "subset": word} for i, (name, word) in enumerate(pairs)]
        ),
        "entries of texts": lambda: json.dumps([{"image": name, "split": word} for name, word in pairs]),
        "by number": lambda: json.dumps({name: {"split": word} for name, word in pairs}),
    }[form]()


ENDING = {"id and split": "csv", "file and subset": "tsv", "yaml": "yaml"}
AS_NUMBERS = ["lists of numbers", "lists in it", "yaml", "entries", "entries of two ids"]
FORMS = ["id and split", "file and subset", "lists", *AS_NUMBERS, "entries of texts", "by number"]


@pytest.mark.parametrize("part", [1, 4], ids=["all", "few"])
@pytest.mark.parametrize("words", [["val"], ["val", "test"]], ids=len)
@pytest.mark.parametrize(
    ("form", "digits"), [(form, digits) for form in FORMS for digits in (1, 6) if digits == 1 or form not in AS_NUMBERS]
)
def test_plain_splits_of_numbers_are_named(form, digits, words, part, tmp_path):
    names = [f"{i:0{digits}}" for i in range(3, 43, 2)]
    source = without_lists("yolo", tmp_path / "s", World({f"{name}.png": [("cat", BOX)] for name in names}))
    some = names[::part]
    name = f"info.{ENDING.get(form, 'json')}"
    put(source / name, numbered(some, [words[i % len(words)] for i in range(len(some))], form))
    report, _ = pack(source, tmp_path / "p")
    may_be_counts = part > 1 and digits == 1 and form in ("lists", "lists of numbers", "lists in it", "yaml")
    found = messages(report, "label-note" if may_be_counts else "label")
    assert any(path == name and f"{len(some)} images aren't of the split" in text for path, text in found)
    assert not may_be_counts or report.complete


@pytest.mark.parametrize("count", [6, 60])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("history.json", {"train": [1, 2, 3, 4], "val": [2, 3, 4, 5]}),
        ("history.json", {"train": [0.5, 0.25], "val": [3, 4, 5]}),
        ("history.json", {"train": {"loss": [6, 5, 4]}, "val": {"loss": [3, 2, 1]}}),
        ("counts.json", {"train": 4, "val": 2}),
        ("counts.json", [{"split": "train", "images": 4}, {"split": "val", "images": 2}]),
        ("log.json", [{"epoch": i, "phase": word} for i in range(1, 7) for word in ("train", "val")]),
        ("log.json", [{"id": i, "phase": "train", "loss": 0.5} for i in range(1, 7)]),
        ("log.jsonl", {"step": 3, "split": "val"}),
        ("order.json", {"train": [1, 2, 3, 4, 5, 6]}),
        ("log.csv", [("epoch", "phase"), (1, "train"), (1, "val"), (2, "train"), (2, "val")]),
        ("counts.csv", [("split", "count"), ("train", 4), ("val", 4)]),
        ("counts.tsv", [("split", "images"), ("train", 4), ("val", 2)]),
    ],
)
def test_counts_and_logs_cost_nothing(name, value, count, tmp_path):
    source = without_lists("yolo", tmp_path / "s", World({f"{i}.png": [("cat", BOX)] for i in range(1, count + 1)}))
    is_table = name.endswith(("csv", "tsv"))
    put(source / name, "".join(f"{a},{b}\n" for a, b in value) if is_table else json.dumps(value))
    report, _ = pack(source, tmp_path / "p")
    assert report.complete, report.problems
