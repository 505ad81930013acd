"""S3, by s3fs: the etag stands in the answer."""

from __future__ import annotations

from typing import Any

from blobdir.sources.model import Stat
from blobdir.sources.transports.answers import WHOLE, Answer, bare_etag, check_range, check_status, mtime_ns
from blobdir.sources.transports.general import General


class S3(General):
    """Requests of ``s3fs.S3FileSystem``."""

    async def get(self, path: str, start: int | None, end: int | None, *, versioned: bool = True) -> Answer:  # noqa: ARG002  # the answer says it
        """An object, or a byte range of it, by s3fs."""
        bucket, key, version = self.fs.split_path(path)
        options: dict[str, Any] = {"VersionId": version} if version else {}
        if start is not None and end is not None:
            options["Range"] = f"bytes={start}-{end - 1}"
        answer = await self.fs._call_s3("get_object", Bucket=bucket, Key=key, **options)  # noqa: SLF001  # as in s3fs.call_s3
        body = answer["Body"]
        try:
            status = int((answer.get("ResponseMetadata") or {}).get("HTTPStatusCode") or WHOLE)
            check_status(status, answer.get("ContentRange"), is_ranged="Range" in options)
            data: bytes = await body.read()
        finally:
            body.close()
        total = check_range(data, start, end, answer.get("ContentRange"))
        etag = bare_etag(str(answer.get("ETag", "")))
        return Answer(data, Stat("file", total, mtime_ns(answer.get("LastModified")), etag=etag))
