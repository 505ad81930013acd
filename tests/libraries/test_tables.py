"""pandas, pyarrow and DuckDB over the annotations of a blob project."""

import json

import duckdb
import fsspec
import pandas
import pyarrow
import pyarrow.dataset
import pyarrow.fs
import pyarrow.json
import pytest

import blobdir


@pytest.fixture(scope="module")
def fs(digits):
    return fsspec.filesystem("blobdir", fo=str(digits))


@pytest.fixture(scope="module")
def widths(digits_plain):
    """Annotation file -> width of its image."""
    return {
        path.name: json.loads(path.read_bytes())["size"]["width"] for path in (digits_plain / "train/ann").iterdir()
    }


def test_pandas(digits, digits_plain, fs):
    name = "train/ann/0_000010.png.json"
    expected = pandas.read_json(digits_plain / name, typ="series")
    for found in (
        pandas.read_json(f"blobdir://{name}::{digits}", typ="series"),
        pandas.read_json(f"blobdir://{name}", typ="series", storage_options={"fo": str(digits)}),
        pandas.read_json(fs.open(name), typ="series"),
    ):
        pandas.testing.assert_series_equal(found, expected)


def test_pyarrow(fs, digits_plain, widths):
    arrow = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(fs))
    infos = arrow.get_file_info(pyarrow.fs.FileSelector("train/ann"))
    assert {info.base_name: info.size for info in infos} == {
        path.name: path.stat().st_size for path in (digits_plain / "train/ann").iterdir()
    }
    deep = arrow.get_file_info(pyarrow.fs.FileSelector("train", recursive=True))
    assert sum(info.type == pyarrow.fs.FileType.File for info in deep) == 360
    assert arrow.get_file_info("nowhere").type == pyarrow.fs.FileType.NotFound
    with arrow.open_input_file("train/img/0_000010.png") as file:
        assert file.size() == 725
        file.seek(1)
        assert file.read(3) == b"PNG"
    with arrow.open_input_stream("train/img/0_000010.png") as stream:
        assert stream.read() == (digits_plain / "train/img/0_000010.png").read_bytes()
    with pytest.raises(OSError, match="read-only"):
        arrow.create_dir("train/new")
    paths = [f"train/ann/{name}" for name in sorted(widths)]
    found = pyarrow.dataset.dataset(paths, filesystem=arrow, format="json").to_table()
    plain = pyarrow.fs.SubTreeFileSystem(str(digits_plain), pyarrow.fs.LocalFileSystem())
    assert found.equals(pyarrow.dataset.dataset(paths, filesystem=plain, format="json").to_table())
    with arrow.open_input_stream(paths[0]) as stream:
        assert pyarrow.json.read_json(stream).column("size").to_pylist()[0]["width"] == widths[min(widths)]


def test_duckdb(fs, widths):
    connection = duckdb.connect()
    connection.register_filesystem(fs)
    rows = connection.execute(
        "select filename, size.width from read_json('blobdir://train/ann/*.json', filename=true)"
    ).fetchall()
    assert {name.rpartition("/")[2]: width for name, width in rows} == widths
    one = connection.execute("select size.width from read_json('blobdir://train/ann/0_000010.png.json')").fetchone()
    assert one == (widths["0_000010.png.json"],)
    with pytest.raises(duckdb.Error):
        connection.execute("copy (select 1) to 'blobdir://train/x.csv'")


def test_errors_reach_through(digits):
    with pytest.raises(FileNotFoundError):
        pandas.read_json(f"blobdir://train/ann/nowhere.json::{digits}")
    with pytest.raises(blobdir.BlobdirError):
        fsspec.open(f"blobdir://train/ann/nowhere.json::{digits}").open()
