"""Parquet as Hugging Face's ``datasets`` has it: a row an image, in files of each dataset.

Columns: ``image`` with ``bytes`` and ``path``, which its `Image` feature decodes; ``annotation``, the JSON as text;
``dataset``. The schema says so in its metadata, and has the project's ``meta.json`` there, under ``supervisely_meta``.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final

from blobdir.errors import UsageError
from blobdir.stores.model import StorePlan, StoreWriter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from blobdir.stores.model import Sample

META: Final = b"supervisely_meta"
_FEATURES: Final = {
    "image": {"_type": "Image"},
    "annotation": {"dtype": "string", "_type": "Value"},
    "dataset": {"dtype": "string", "_type": "Value"},
}
_COMPRESSED: Final = {"image.bytes": "NONE", "image.path": "SNAPPY", "annotation": "SNAPPY", "dataset": "SNAPPY"}
"""Images are compressed already."""
_MOST_BYTES: Final = (1 << 31) - (64 << 20)
"""Of an image: the values of a column that are written together have 2 GiB at the most."""


def library() -> Any:
    """Arrow, or how to get it: UsageError."""
    try:
        import pyarrow as arrow  # noqa: PLC0415  # an extra
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError as error:
        raise UsageError("Parquet needs the library pyarrow; install it: pip install 'blobdir[parquet]'") from error
    return arrow


class ParquetWriter(StoreWriter):
    """Writes ``train-000000.parquet`` and so on; images that are read together are a row group."""

    shard_bytes: ClassVar[int] = 500 << 20

    def __init__(self, plan: StorePlan) -> None:
        super().__init__(plan)
        self._arrow = arrow = library()
        metadata = {b"huggingface": json.dumps({"info": {"features": _FEATURES}}).encode()}
        if plan.meta:
            metadata[META] = plan.meta
        image = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
        self._schema = arrow.schema(
            [("image", image), ("annotation", arrow.string()), ("dataset", arrow.string())], metadata=metadata
        )
        self._dataset, self._path, self._file = "", "", ""
        self._writer: Any = None
        self._output: BinaryIO | None = None
        self._size, self._images = 0, 0

    @classmethod
    def check(cls) -> None:
        """Arrow has to be there."""
        library()

    def begin(self, dataset: str, path: str, names: Sequence[str]) -> None:  # noqa: ARG002  # a row has the name
        """Rows have its name."""
        self._dataset, self._path = dataset, path

    def add(self, samples: Sequence[Sample]) -> None:
        """Write them, in as many files as it takes."""
        rows: list[tuple[str, bytes, str | None]] = []
        size = 0
        for sample in samples:
            row = self._row(sample)
            if row is None:
                continue
            more = len(sample.image) + len(sample.annotation or b"")
            if self.plan.is_full(self._size + size, self._images + len(rows), more):
                self._write(rows, size)
                self.end()
                rows, size = [], 0
            rows.append(row)
            size += more
            self.plan.count(is_annotated=row[2] is not None)
        self._write(rows, size)

    def _row(self, sample: Sample) -> tuple[str, bytes, str | None] | None:
        place, annotation = f"{self._dataset}/{sample.name}", None
        if not _is_text(place):
            self.plan.complain("name", place, "has a name that isn't UTF-8, as texts in Parquet are")
            return None
        if len(sample.image) > _MOST_BYTES:
            self.plan.complain("image", place, f"has {len(sample.image):,} bytes; Parquet takes {_MOST_BYTES:,}")
            return None
        try:
            annotation = None if sample.annotation is None else sample.annotation.decode()
        except UnicodeDecodeError:
            self.plan.complain("annotation", place, "has an annotation that isn't UTF-8, as texts in Parquet are")
        return sample.name, sample.image, annotation

    def _write(self, rows: Sequence[tuple[str, bytes, str | None]], size: int) -> None:
        if not rows:
            return
        arrow = self._arrow
        if self._writer is None:
            self._begin_file()
        columns = [
            arrow.array([{"bytes": data, "path": name} for name, data, _ in rows], self._schema.field(0).type),
            arrow.array([annotation for *_, annotation in rows], arrow.string()),
            arrow.array([self._dataset] * len(rows), arrow.string()),
        ]
        self._writer.write_table(arrow.Table.from_arrays(columns, schema=self._schema))
        self._size += size
        self._images += len(rows)

    def _begin_file(self) -> None:
        self._file = self.plan.shard_name(self._path, ".parquet")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._output = open(os.open(self._file, flags, 0o666, dir_fd=self.plan.made.fd("")), "wb")  # noqa: SIM115  # closed in end
        self._writer = self._arrow.parquet.ParquetWriter(
            self._output,
            self._schema,
            compression=_COMPRESSED,
            use_dictionary=["dataset"],
            write_statistics=["dataset"],
        )

    def end(self) -> None:
        """End the file at hand."""
        if self._writer is None or self._output is None:
            return
        self._writer.close()
        self._output.flush()
        os.fsync(self._output.fileno())
        self._output.close()
        self.plan.made.take(self._file)
        self._writer, self._output, self._size, self._images = None, None, 0, 0

    def finish(self) -> None:
        """Nothing is left to do."""

    def close(self) -> None:
        """Close the file at hand."""
        if self._output is not None:
            with suppress(OSError, self._arrow.ArrowException):
                self._writer.close()
            with suppress(OSError):
                self._output.close()


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
