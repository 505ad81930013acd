"""A web server in front of a bucket: its pages name a folder twice, with a slash and without, and files as they are."""

import http.server
import threading
import urllib.parse


class Pages:
    """Serves some keys, ``{path: content}``; a context manager.

    Attributes
    ----------
    url : str
    """

    def __init__(self, keys):
        pages = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                pages.answer(self)

            def do_HEAD(self):
                pages.answer(self)

        self.keys = keys
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, request):
        path = urllib.parse.unquote(request.path).lstrip("/")
        below = {key[len(path) :].split("/")[0]: key for key in self.keys if key.startswith(path)}
        status, kind, data = 404, "text/plain", b""
        if path.endswith("/") or not path:
            status, kind = 200, "text/html"
            links = [f"<a href='{urllib.parse.quote(name)}'>{name}</a>" for name in below if name]
            links += [
                f"<a href='{urllib.parse.quote(name)}/'>{name}</a>"
                for name, key in below.items()
                if name and any(one.startswith(f"{path}{name}/") for one in self.keys)
            ]
            data = "\n".join(["<h1>Index of a bucket</h1>", *links]).encode()
        elif path in self.keys:
            status, data = 200, self.keys[path]
        elif any(key.startswith(f"{path}/") for key in self.keys):
            status = 301
        request.send_response(status)
        if status == 301:
            request.send_header("Location", f"/{urllib.parse.quote(path)}/")
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(data)))
        request.send_header("ETag", f'"{hash(data)}"')
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(data)

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *args):
        self._server.shutdown()
        self._server.server_close()
