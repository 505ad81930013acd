"""A proxy that does to answers what networks and servers do: late, cut, wrong, refused, stalled, gone."""

import asyncio
import re
import threading


class FaultyProxy:
    """Stands before an HTTP server.

    Attributes
    ----------
    faults : list
        What befalls the next GET requests of blobs, one each, in order; see `_spoil`.
    requests : list of str
        First lines of all requests that came.
    """

    def __init__(self, upstream):
        self.upstream = upstream
        self.faults = []
        self.requests = []
        self.always = None
        self.faulty = b".tar"  # what must be in the path of a request that is spoilt
        self.spares = 0  # ranges of so many bytes are served all the same
        self.down = False
        self.delay_s = 0.0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._writers = set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def _run(self):
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 24))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    def close(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def hang_up(self):
        """Break all connections."""

        def abort():
            for writer in list(self._writers):
                writer.transport.abort()

        self._loop.call_soon_threadsafe(abort)

    async def _serve(self, reader, writer):
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                line = head.split(b"\r\n")[0].decode()
                self.requests.append(line)
                if self.down:
                    writer.transport.abort()
                    return
                await asyncio.sleep(self.delay_s)
                fault = None
                if line.startswith("GET") and self.faulty.decode() in line:
                    fault = self.faults.pop(0) if self.faults else self.always
                    asked = re.search(rb"bytes=(\d+)-(\d+)", head)
                    if asked and int(asked[2]) - int(asked[1]) < self.spares:
                        fault = None
                answer = await self._ask(head)
                if not await self._answer(writer, answer, fault):
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _ask(self, head):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.upstream, limit=1 << 24)
        writer.write(re.sub(rb"(?i)connection: [^\r]*\r\n", b"", head)[:-2] + b"Connection: close\r\n\r\n")
        answer = await reader.read(-1)
        writer.close()
        return re.sub(rb"(?i)connection: close\r\n", b"", answer, count=1)

    async def _answer(self, writer, answer, fault):
        """Send an answer; False where the connection ends with it."""
        head, _, body = answer.partition(b"\r\n\r\n")
        if fault is None:
            writer.write(answer)
        elif isinstance(fault, int):
            after = b"Retry-After: 1\r\n" if fault == 503 else b""
            writer.write(b"HTTP/1.1 %d Fault\r\n%sContent-Length: 5\r\n\r\nfault" % (fault, after))
        elif fault == "reset":
            writer.write(head + b"\r\n\r\n" + body[: len(body) // 2])
            await writer.drain()
            await asyncio.sleep(0.05)
            writer.transport.abort()
            return False
        elif fault == "truncated":
            writer.write(head + b"\r\n\r\n" + body[: len(body) // 2])
            await writer.drain()
            return False
        elif fault == "short":  # a body that is shorter than the range, and says so
            body = body[: len(body) // 2]
            head = re.sub(rb"(?i)content-length: \d+", b"Content-Length: %d" % len(body), head)
            writer.write(head + b"\r\n\r\n" + body)
        elif fault == "shifted":  # other bytes than those that were asked for
            found = re.search(rb"(?i)content-range: bytes (\d+)-(\d+)/", head)
            moved = b"Content-Range: bytes %d-%d/" % (int(found[1]) + 512, int(found[2]) + 512)
            writer.write(head.replace(found[0], moved) + b"\r\n\r\n" + body)
        elif fault == "whole":  # no ranges here
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000000\r\n\r\n" + body)
            await writer.drain()
            return False
        elif fault == "replaced":
            writer.write(re.sub(rb'(?i)etag: "[^"]*"', b'ETag: "another"', head) + b"\r\n\r\n" + body)
        elif fault == "stall":
            writer.write(head + b"\r\n\r\n" + body[:100])
            await writer.drain()
            await asyncio.sleep(3600)
        else:
            raise AssertionError(fault)
        await writer.drain()
        return True
