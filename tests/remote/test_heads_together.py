"""Files that are asked for together, before anybody knows whether the server answers a HEAD as it would a GET."""

import asyncio
import contextlib
import gc
import types
import weakref

import pytest
import yarl
from multidict import CIMultiDict

from blobdir.sources.transports.web import _HEARD, Web

THERE, NOT_THERE = "http://host/p/meta.json", [f"http://host/{n}/meta.json" for n in range(5)]
SLOW_S = 0.3


class Server:
    """Answers in an order of its own: that a file is there, it says after all others, or before them."""

    def __init__(self, *, knows_head, there_last):
        self.knows_head, self.there_last = knows_head, there_last
        self.asked, self.absent = [], 0
        self.all_told = asyncio.Event()
        self.kwargs = {}

    async def set_session(self):
        return self

    def encode_url(self, url):
        return yarl.URL(url)

    @contextlib.asynccontextmanager
    async def head(self, url, **options):
        self.asked.append(("HEAD", str(url)))
        if str(url) == THERE:
            if self.there_last:
                await self.all_told.wait()
            yield self.answer(200 if self.knows_head else 404)
        else:
            await asyncio.sleep(SLOW_S)
            self.absent += 1
            if self.absent == len(NOT_THERE):
                self.all_told.set()
            yield self.answer(404)

    @contextlib.asynccontextmanager
    async def get(self, url, **options):
        self.asked.append(("GET", str(url)))
        yield self.answer(200 if str(url) == THERE else 404)

    def answer(self, status):
        def check():
            assert status == 200

        headers = CIMultiDict({"Content-Length": "7"})
        return types.SimpleNamespace(status=status, headers=headers, reason="", raise_for_status=check)


async def ask(server, method):
    web = Web(server)

    async def one(url):
        try:
            found = await getattr(web, method)(url)
        except FileNotFoundError:
            return None
        return found if isinstance(found, int) else found.size

    return await asyncio.gather(*map(one, [*NOT_THERE, THERE]))


@pytest.mark.parametrize("there_last", [True, False])
@pytest.mark.parametrize(("method", "missing"), [("info", None), ("size", -1)])
def test_one_that_is_there_counts_for_all(method, missing, there_last):
    async def run():
        server = Server(knows_head=True, there_last=there_last)
        return server, await ask(server, method)

    server, found = asyncio.run(run())
    assert found == [missing] * len(NOT_THERE) + [7]
    assert {how for how, _ in server.asked} == {"HEAD"}


@pytest.mark.parametrize("there_last", [True, False])
@pytest.mark.parametrize(("method", "missing"), [("info", None), ("size", -1)])
def test_what_knows_no_head_is_asked_otherwise(method, missing, there_last):
    async def run():
        server = Server(knows_head=False, there_last=there_last)
        return server, await ask(server, method)

    server, found = asyncio.run(run())
    assert found == [missing] * len(NOT_THERE) + [7]
    assert ("GET", THERE) in server.asked


def test_one_that_never_answers_holds_no_other():
    async def run():
        server = Server(knows_head=True, there_last=True)
        web = Web(server)
        stuck = asyncio.ensure_future(web.info(THERE))
        with pytest.raises(FileNotFoundError):
            await asyncio.wait_for(web.info(NOT_THERE[0]), 60)
        stuck.cancel()
        return server.asked

    assert ("GET", NOT_THERE[0]) in asyncio.run(run())


@pytest.mark.parametrize(
    ("missing", "ways"),
    [
        ("http://host/p/.blobdir/journal.json", {"HEAD"}),
        ("http://host/p/x/y.json", {"HEAD"}),
        ("http://host/pq/meta.json", {"HEAD", "GET"}),
        ("http://host/meta.json", {"HEAD", "GET"}),
        ("http://other/p/meta.json", {"HEAD", "GET"}),
    ],
)
def test_who_opens_a_project_knows_what_who_looked_for_it_has_heard(missing, ways):
    async def run():
        server = Server(knows_head=True, there_last=False)
        await Web(server).info(THERE)
        server.asked.clear()
        with pytest.raises(FileNotFoundError):
            await Web(server).info(missing)
        return server.asked

    assert {how for how, _ in asyncio.run(run())} == ways


def test_what_was_heard_has_a_bound_and_goes_with_its_backend():
    async def run():
        server = Server(knows_head=True, there_last=False)
        web = Web(server)
        for number in range(1000):
            web._hear(f"http://host/{number}/meta.json")
        assert len(_HEARD[server]) == 64
        return weakref.ref(server)

    gone = asyncio.run(run())
    gc.collect()
    assert gone() is None
