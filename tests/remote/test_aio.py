"""Bulk reads that don't block an event loop."""

import asyncio

import pytest

import blobdir
from blobdir import aio
from blobdir.errors import NotFoundError


def test_the_loop_goes_on(remote, digits):
    url, options, _ = remote
    project, local = blobdir.open_project(url, storage_options=options), blobdir.open_project(digits)
    names = local["train"].names

    async def main():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.0005)

        ticking = asyncio.create_task(tick())
        both = await asyncio.gather(
            aio.read_many(project["train"], names),
            aio.cat(project.filesystem, ["train/img/" + name for name in names[:9]]),
        )
        ticking.cancel()
        with pytest.raises(NotFoundError):
            await aio.read_many(project["train"], ["nothing"])
        assert await aio.cat(project.filesystem, ["nothing"], on_error="omit") == {}
        return *both, ticks

    images, files, ticks = asyncio.run(main())
    assert images == local["train"].read_many(names)
    assert list(files.values()) == images[:9]
    assert ticks >= 1
