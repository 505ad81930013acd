"""A project on nginx, some milliseconds away."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.data import plain_folder, real_project
from benchmarks.peers import program_path

DEADLINE_S = 300


def staged(folder: Path, images: int) -> Path:
    """A folder to serve: the project ``p``, with an index beside, and its images as files in ``plain``."""
    project, plain = real_project(folder, images), plain_folder(folder, images)
    stage = folder / f"served-{images}"
    if not stage.exists():
        (stage / "p").mkdir(parents=True)
        subprocess.run(["cp", "-al", f"{project}/.", stage / "p"], check=True)
        subprocess.run(["cp", "-al", plain, stage / "plain"], check=True)
        shutil.rmtree(stage / "p/.blobdir", ignore_errors=True)
        subprocess.run(
            [sys.executable, "-m", "blobdir", "index", "-q", "--beside", stage / "p"], check=True, timeout=DEADLINE_S
        )
    return stage


@contextlib.contextmanager
def nginx(root: Path) -> Iterator[int]:
    """Nginx over a folder; its port."""
    with tempfile.TemporaryDirectory() as home:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        places = "".join(f"{k}_temp_path {home}/{k};" for k in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        Path(home, "conf").write_text(
            f"{'user root;' if os.getuid() == 0 else ''} daemon off; pid {home}/pid; error_log {home}/log;"
            "worker_processes 1; events { worker_connections 4096; }"
            f"http {{ access_log off; sendfile on; keepalive_requests 1000000; {places}"
            f"server {{ listen 127.0.0.1:{port} backlog=4096; root {root}; autoindex on; charset utf-8; }} }}"
        )
        program = program_path("nginx")
        assert program is not None
        with subprocess.Popen([program, "-c", f"{home}/conf"], stderr=subprocess.DEVNULL) as server:
            try:
                yield port
            finally:
                server.terminate()


@contextlib.contextmanager
def away(port: int, latency_ms: float, bytes_per_s: float = 0) -> Iterator[str]:
    """The URL of what a port serves, so many milliseconds away; each connection has so many bytes a second, or all."""
    command = [sys.executable, "-m", "benchmarks.delaying", str(port), str(latency_ms), str(bytes_per_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        assert proxy.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(proxy.stdout.readline())}"
        finally:
            proxy.kill()
