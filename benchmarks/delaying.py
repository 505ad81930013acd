"""A proxy that stands for a distance: what goes to the server is late by some milliseconds, what comes back isn't.

Run as ``python -m benchmarks.delaying UPSTREAM_PORT MILLISECONDS [BYTES_PER_S]``; it prints its port. Answers are
spliced from socket to socket by the kernel, so that the proxy isn't what is measured.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time

_CHUNK = 1 << 20


def serve(upstream: int, delay_s: float, bytes_per_s: float = 0) -> None:
    """Serve until killed."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(listener.getsockname()[1], flush=True)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=_connect, args=(client, upstream, delay_s, bytes_per_s), daemon=True).start()


def _connect(client: socket.socket, upstream: int, delay_s: float, bytes_per_s: float) -> None:
    server = socket.create_connection(("127.0.0.1", upstream))
    for end in (client, server):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threading.Thread(target=_back, args=(server, client, bytes_per_s), daemon=True).start()
    try:
        while data := client.recv(1 << 16):
            time.sleep(delay_s)  # one request at a time on a connection, as HTTP/1.1 clients do
            server.sendall(data)
        server.shutdown(socket.SHUT_WR)
    except OSError:
        server.close()


def _back(server: socket.socket, client: socket.socket, bytes_per_s: float) -> None:
    out, into = os.pipe()
    try:
        while n := os.splice(server.fileno(), into, _CHUNK):
            left = n
            while left:
                left -= os.splice(out, client.fileno(), left)
            if bytes_per_s:
                time.sleep(n / bytes_per_s)
    except OSError:
        pass
    finally:
        os.close(out)
        os.close(into)
        client.close()
        server.close()


if __name__ == "__main__":
    serve(int(sys.argv[1]), float(sys.argv[2]) / 1000, float(sys.argv[3]) if len(sys.argv) > 3 else 0)
