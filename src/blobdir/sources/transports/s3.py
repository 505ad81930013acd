"""S3, by s3fs: the etag stands in the answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from blobdir.sources.model import Stat
from blobdir.sources.transports.answers import (
    WHOLE,
    Answer,
    Came,
    announced,
    bare_etag,
    check_range,
    check_status,
    mtime_ns,
    nobody,
)
from blobdir.sources.transports.general import General

_RECEIVE = 1 << 20


class S3(General):
    """Requests of ``s3fs.S3FileSystem``."""

    is_streamed = True

    async def get(
        self,
        path: str,
        start: int | None,
        end: int | None,
        *,
        versioned: bool = True,  # noqa: ARG002  # the answer says it
        came: Came = nobody,
    ) -> Answer:
        """An object, or a byte range of it, by s3fs."""
        bucket, key, version = self.fs.split_path(path)
        options: dict[str, Any] = {"VersionId": version} if version else {}
        if start is not None and end is not None:
            options["Range"] = f"bytes={start}-{end - 1}"
        answer = await self.fs._call_s3("get_object", Bucket=bucket, Key=key, **options)  # noqa: SLF001  # as in s3fs.call_s3
        body = answer["Body"]
        try:
            status = int((answer.get("ResponseMetadata") or {}).get("HTTPStatusCode") or WHOLE)
            told = answer.get("ContentRange")
            check_status(status, told, is_ranged="Range" in options)
            length = answer.get("ContentLength")
            whole = -1 if start is None or end is None else announced(start, end, told)[1]
            version = Stat(
                "file",
                length if start is None and isinstance(length, int) else whole,
                mtime_ns(answer.get("LastModified")),
                etag=bare_etag(str(answer.get("ETag", ""))),
            )
            pieces = []
            while piece := await body.read(_RECEIVE):
                pieces.append(piece)
                came(piece, version)
        finally:
            body.close()
        data = b"".join(pieces)
        return Answer(data, replace(version, size=check_range(data, start, end, told)))
