"""Azure Blob Storage, by the client of adlfs: the etag stands in the answer."""

from __future__ import annotations

from typing import Any

from blobdir.sources.model import Stat
from blobdir.sources.retries import WrongAnswerError
from blobdir.sources.transports.answers import CONTENT_RANGE, Answer, Came, bare_etag, check_range, mtime_ns, nobody
from blobdir.sources.transports.general import General


class Azure(General):
    """Requests of ``adlfs.AzureBlobFileSystem``, which takes slashes away from the ends of names where it lists."""

    async def get(
        self,
        path: str,
        start: int | None,
        end: int | None,
        *,
        versioned: bool = True,  # noqa: ARG002  # the answer says it
        came: Came = nobody,  # noqa: ARG002  # it comes at once
    ) -> Answer:
        """A blob, or a byte range of it, by adlfs."""
        container, name, _ = self.fs.split_path(path)
        options: dict[str, Any] = {"max_concurrency": 1, "retry_total": 0}  # who calls us repeats
        if start is not None and end is not None:
            options |= {"offset": start, "length": end - start}
        async with self.fs.service_client.get_blob_client(container, name) as client:
            stream = await client.download_blob(**options)
            data: bytes = await stream.readall()
        properties = stream.properties
        total = -1 if properties.size is None else int(properties.size)
        if start is None or end is None:
            if total >= 0 and len(data) != total:
                raise WrongAnswerError(f"the server announced {total} bytes and sent {len(data)}")
        else:
            told = CONTENT_RANGE.fullmatch(str(properties.content_range or ""))
            total = int(told[3]) if told and told[3] != "*" else -1
            check_range(data, start, end if total < 0 else min(end, total), None)
        etag = bare_etag(str(properties.etag or ""))
        return Answer(data, Stat("file", total, mtime_ns(properties.last_modified), etag=etag))

    async def list_blobs(self, root: str) -> list[tuple[str, dict[str, Any]]]:
        """All blobs below a folder by their own names, and what adlfs says of them."""
        container, prefix, _ = self.fs.split_path(root)
        found = []
        async with self.fs.service_client.get_container_client(container=container) as client:
            below = f"{prefix.rstrip('/')}/" if prefix else None
            async for blob in client.list_blobs(include=["metadata"], name_starts_with=below):
                (info,) = await self.fs._details([blob])  # noqa: SLF001  # as in adlfs's _find
                found.append((f"{container}/{blob.name}", info))
        return found
