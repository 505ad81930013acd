"""A stand-in for the platform's server: what the SDK asks for on its way to and from blobs, in memory.

Its answers have the shape that SDK 6.74.51 expects. It's strict about what it gets: a key that it doesn't know, an id
that isn't there, a range beyond its file, a class that the project doesn't have, an annotation of another size than its
image are errors. What the real server does beyond that isn't known here.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from posixpath import splitext
from urllib.parse import parse_qsl, urlsplit

from PIL import Image, ImageOps
from requests_toolbelt.multipart.decoder import MultipartDecoder

TOKEN = "a token"
TEAM, WORKSPACE = 3, 5
PER_PAGE = 20
PREFIX = "/public/api/v3/"
LONGEST_LIST = 50
LONGEST_BY_OFFSETS = 10_000
WHEN = "2026-01-01T00:00:00.000Z"
PAGES = {"filter", "filters", "sort", "sort_order", "page", "per_page", "perPage", "fields", "extraFields", "recursive"}
GEOMETRY = {"points", "parts", "bitmap", "multichannelBitmap", "nodes", "vertices", "faces", "angle"}
SPECIAL = {"alpha_mask", "multipolygon"}
"""Shapes that go by requests of their own."""
CALLS = {}


class Refused(Exception):
    """Something that was sent isn't accepted."""

    def __init__(self, text, details=None, status=400):
        super().__init__(text)
        self.details, self.status = details or {"message": text}, status


def call(method, needs=(), may=()):
    """A method of the API; its body has these keys and no others, or is something else than an object."""

    def register(function):
        CALLS[method] = function, frozenset(needs), frozenset(may) | frozenset(needs)
        return function

    return register


class Parts:
    """A body in several parts: (header of the part, its content)."""

    def __init__(self, content, kind):
        self.found = [
            (part.headers[b"Content-Disposition"].decode(), part.content)
            for part in MultipartDecoder(content, kind).parts
        ]


def parts_of(items):
    """A body in parts, one for each (name, content)."""
    body = b"".join(
        b'--parts\r\nContent-Disposition: form-data; name="%d"\r\n\r\n%b\r\n' % (name, data) for name, data in items
    )
    return body + b"--parts--\r\n", "multipart/form-data; boundary=parts"


class Platform:
    """What the server knows, and how often it was asked for what.

    Attributes
    ----------
    requests : Counter
        Method -> number of requests.
    got, sent : Counter
        Method -> bytes of bodies.
    refused : list of str
        What wasn't accepted.
    """

    def __init__(self):
        self.projects, self.datasets, self.files, self.images, self.figures, self.plain = {}, {}, {}, {}, {}, {}
        self.requests, self.got, self.sent, self.refused = Counter(), Counter(), Counter(), []
        self._ids, self._lock = count(1000), threading.RLock()

    def answer(self, method, body, query):
        """What a method answers: something for JSON, or (bytes, content type)."""
        if method not in CALLS:
            raise Refused(f"there is no {method}", status=404)
        function, needs, may = CALLS[method]
        if isinstance(body, dict):
            if missing := needs - body.keys():
                raise Refused(f"{method} without {sorted(missing)}")
            if unknown := body.keys() - may:
                raise Refused(f"{method} with {sorted(unknown)}")
        with self._lock:
            return function(self, body, query) if function.__code__.co_argcount > 2 else function(self, body)

    def new(self, table, **fields):
        number = next(self._ids)
        table[number] = {"id": number, "createdAt": WHEN, "updatedAt": WHEN, **fields}
        return table[number]

    @staticmethod
    def one_of(table, number, what):
        if number not in table:
            raise Refused(f"there is no {what} {number}", status=404)
        return table[number]

    # -- lists, projects, datasets ---------------------------------------------------------------------------------

    def page(self, items, body):
        for rule in body.get("filter") or ():
            field, operator, value = rule["field"], rule["operator"], rule["value"]
            if operator not in ("=", "in"):
                raise Refused(f"filter {operator}")
            items = [item for item in items if (item[field] == value if operator == "=" else item[field] in value)]
        number, size = body.get("page", 1), body.get("per_page") or PER_PAGE
        entities = items[(number - 1) * size : number * size]
        pages = max(1, -(-len(items) // size))
        return {"total": len(items), "perPage": size, "pagesCount": pages, "entities": entities, "after": None}

    def project(self, number):
        project = self.one_of(self.projects, number, "project")
        datasets = [dataset for dataset in self.datasets.values() if dataset["projectId"] == number]
        images = sum(len(self.images_of(dataset["id"])) for dataset in datasets)
        shown = {key: value for key, value in project.items() if key != "meta"}
        return shown | {"datasetsCount": len(datasets), "imagesCount": images, "itemsCount": images}

    def dataset(self, number):
        dataset = self.one_of(self.datasets, number, "dataset")
        images = self.images_of(number)
        return dataset | {"imagesCount": len(images), "itemsCount": len(images), "size": "0"}

    def images_of(self, number):
        return [image for image in self.images.values() if image["datasetId"] == number]

    @call("instance.version")
    def version(self, body):
        return {"version": "6.15.60"}

    @call("projects.list", ["workspaceId"], PAGES | {"groupId"})
    def list_projects(self, body):
        return self.page([self.project(number) for number in self.projects], body)

    @call("projects.add", ["name", "workspaceId", "type"], ["description", "readme", "settings", "customData"])
    def add_project(self, body):
        if body["type"] != "images" or body["workspaceId"] != WORKSPACE:
            raise Refused(f"a project of {body}")
        fields = {
            "readme": "",
            "settings": {},
            "customData": {},
            "size": "0",
            "referenceImageUrl": None,
            "version": None,
        }
        more = {
            "backupArchive": {},
            "importSettings": {},
            "createdBy": 1,
            "meta": {"classes": [], "tags": [], "projectType": "images"},
        }
        return self.project(self.new(self.projects, teamId=TEAM, **more, **{**fields, **body})["id"])

    @call("projects.info", ["id"], ["extraFields"])
    def project_info(self, body):
        return self.project(body["id"])

    @call("projects.meta", ["id"])
    def project_meta(self, body):
        return self.one_of(self.projects, body["id"], "project")["meta"]

    @call("projects.meta.update", ["id", "meta"])
    def update_meta(self, body):
        project = self.one_of(self.projects, body["id"], "project")
        for key, name in (("classes", "title"), ("tags", "name")):
            items = [{**item, "id": next(self._ids)} for item in body["meta"][key]]
            if len({item[name] for item in items}) < len(items):
                raise Refused(f"two {key} of one name")
            project["meta"][key] = items
        return project["meta"]

    @call("projects.settings.update", ["id", "settings"])
    def update_settings(self, body):
        self.one_of(self.projects, body["id"], "project")["settings"] |= body["settings"]
        return {"success": True}

    @call("projects.editInfo", ["id"], ["customData", "silent", "name"])
    def edit_project(self, body):
        project = self.one_of(self.projects, body["id"], "project")
        project.update({key: value for key, value in body.items() if key not in ("id", "silent")})
        return self.project(body["id"])

    @call("datasets.list", ["projectId"], PAGES)
    def list_datasets(self, body):
        self.project(body["projectId"])
        found = [d["id"] for d in self.datasets.values() if d["projectId"] == body["projectId"]]
        return self.page([self.dataset(number) for number in found], body)

    @call("datasets.add", ["projectId", "name", "parentId"], ["description", "customData"])
    def add_dataset(self, body):
        self.project(body["projectId"])
        if body["parentId"] is not None:
            self.dataset(body["parentId"])
        beside = [
            d
            for d in self.datasets.values()
            if (d["projectId"], d["parentId"]) == (body["projectId"], body["parentId"])
        ]
        if not body["name"] or "/" in body["name"] or body["name"] in [d["name"] for d in beside]:
            raise Refused(f"a dataset called {body['name']!r}")
        fields = {"description": "", "customData": None, "referenceImageUrl": None, "createdBy": 1}
        return self.dataset(self.new(self.datasets, teamId=TEAM, workspaceId=WORKSPACE, **{**fields, **body})["id"])

    @call("datasets.info", ["id"], ["forceMetadataForLinks"])
    def dataset_info(self, body):
        return self.dataset(body["id"])

    # -- Team Files ------------------------------------------------------------------------------------------------

    def keep_file(self, path, data):
        if not path.startswith("/") or path.endswith("/"):
            raise Refused(f"a file at {path!r}")
        known = next((file for file in self.files.values() if file["path"] == path), None)
        file = known or self.new(self.files, teamId=TEAM, userId=1, path=path, name=path.rpartition("/")[2])
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
        more = {"hash": digest, "storagePath": path, "fullStorageUrl": path, "isDir": False, "content": data}
        file.update(more, ext=splitext(path)[1][1:], mime="application/x-tar", sizeb=len(data), size=len(data), meta={})
        return self.shown(file)

    @staticmethod
    def shown(file):
        return {key: value for key, value in file.items() if key != "content"}

    @call("file-storage.bulk.upload")
    def upload_files(self, body, query):
        self.of_team(query)
        names, answers = [part for part, _ in body.found], []
        if [name.split("; ")[1].split("=")[1] for name in names] != ['"name"', '"path"', '"file"'] * (len(names) // 3):
            raise Refused(f"parts {names}")
        contents = [content for _, content in body.found]
        for name, folder, data in zip(contents[::3], contents[1::3], contents[2::3], strict=True):
            answers.append(self.keep_file(folder.decode() + name.decode(), data))
        return answers

    @call("file-storage.upload")
    def upload_file(self, body, query):
        self.of_team(query)
        return self.keep_file(query["path"], body)

    @staticmethod
    def of_team(query):
        if str(query.get("teamId")) != str(TEAM):
            raise Refused(f"team {query.get('teamId')}")

    @call("file-storage.list", ["teamId", "path"], ["recursive", "meta", "limit"])
    def list_files(self, body):
        self.of_team(body)
        return [self.shown(file) for file in self.files.values() if file["path"].startswith(body["path"])]

    @call("file-storage.info", ["id"])
    def file_info(self, body):
        return self.shown(self.one_of(self.files, body["id"], "file"))

    @call("file-storage.download", ["teamId", "path"])
    def download_file(self, body):
        self.of_team(body)
        found = [file["content"] for file in self.files.values() if file["path"] == body["path"]]
        if not found:
            raise Refused(f"there is no file {body['path']}", status=404)
        return found[0], "application/octet-stream"

    # -- images ----------------------------------------------------------------------------------------------------

    def bytes_of(self, image):
        if image["hash"]:
            return self.plain[image["hash"]]
        return self.files[image["relatedDataId"]]["content"][image["offsetStart"] : image["offsetEnd"]]

    @call("images.bulk.add", ["datasetId", "images", "skipValidation"], ["forceMetadataForLinks"])
    def add_images(self, body):
        self.dataset(body["datasetId"])
        if not 0 < len(body["images"]) <= LONGEST_BY_OFFSETS:
            raise Refused(f"{len(body['images'])} images")
        known = {image["name"]: image["id"] for image in self.images_of(body["datasetId"])}
        names = [item["title"] for item in body["images"]]
        if errors := [{"name": name, "id": known[name]} for name in names if name in known]:
            raise Refused("names that are there", [{"type": "NONUNIQUE", "errors": errors}])
        if len(set(names)) < len(names):
            raise Refused("one name twice")
        found = [self.image(item) for item in body["images"]]
        return [self.known_yet(self.new(self.images, datasetId=body["datasetId"], **fields)) for fields in found]

    @staticmethod
    def known_yet(image):
        """What the answer to an upload says: nothing is known of images in blobs by then."""
        return image | ({"mime": None, "width": None, "height": None} if image["relatedDataId"] else {})

    def image(self, item):
        if not item["title"] or len(item.keys() - {"title", "teamFileId", "sourceBlob", "meta", "hash"}):
            raise Refused(f"an image of {item}")
        fields = {"hash": item.get("hash"), "relatedDataId": None, "downloadId": None, "offsetStart": None}
        if "sourceBlob" in item:
            start, end = item["sourceBlob"]["offsetStart"], item["sourceBlob"]["offsetEnd"]
            file = self.one_of(self.files, item["teamFileId"], "file")
            if item["sourceBlob"].keys() != {"offsetStart", "offsetEnd"} or not 0 <= start < end <= file["size"]:
                raise Refused(f"{item['title']}: a range {item['sourceBlob']} of {file['path']} ({file['size']} bytes)")
            fields |= {"relatedDataId": file["id"], "downloadId": f"of {file['id']}", "offsetStart": start}
            fields["offsetEnd"] = end
        elif fields["hash"] not in self.plain:
            raise Refused(f"an image of {item}")
        data = self.bytes_of(fields)
        if not isinstance(item.get("meta", {}), dict):
            raise Refused(f"{item['title']}: meta that is no object")
        try:
            with Image.open(io.BytesIO(data)) as picture:
                picture.load()
                mime, (width, height) = picture.get_format_mimetype(), ImageOps.exif_transpose(picture).size
        except Exception as error:
            raise Refused(f"{item['title']} can't be decoded") from error
        more = {"name": item["title"], "meta": item.get("meta", {}), "width": width, "height": height}
        mime = None if fields["relatedDataId"] else mime
        more |= {
            "mime": mime,
            "size": len(data),
            "pathOriginal": "/original",
            "fullStorageUrl": "/original",
            "link": None,
        }
        return fields | more | {"tags": [], "createdBy": 1, "labelsCount": 0, "description": ""}

    @call("images.internal.hashes.list")
    def known_hashes(self, body):
        return [digest for digest in body if digest in self.plain]

    @call("images.bulk.upload")
    def upload_images(self, body):
        hashes = [base64.b64encode(hashlib.sha256(data).digest()).decode() for _, data in body.found]
        self.plain.update(zip(hashes, [data for _, data in body.found], strict=True))
        return [{"hash": digest} for digest in hashes]

    @call("images.list", ["datasetId"], PAGES | {"projectId", "forceMetadataForLinks"})
    def list_images(self, body):
        self.dataset(body["datasetId"])
        return self.page(self.images_of(body["datasetId"]), body)

    @call("images.info", ["id"], ["forceMetadataForLinks"])
    def image_info(self, body):
        return self.one_of(self.images, body["id"], "image")

    @call("images.bulk.download", ["datasetId", "imageIds"])
    def download_images(self, body):
        return parts_of((i, self.bytes_of(self.one_of(self.images, i, "image"))) for i in body["imageIds"])

    @call("images.download", ["id"])
    def download_image(self, body):
        return self.bytes_of(self.one_of(self.images, body["id"], "image")), "application/octet-stream"

    @call("images.data.download", ["projectId", "downloadId"])
    def download_blob(self, body):
        self.project(int(body["projectId"]))
        file = self.one_of(self.files, int(body["downloadId"].removeprefix("of ")), "file")
        return file["content"], "application/octet-stream"

    # -- annotations -----------------------------------------------------------------------------------------------

    def meta_of(self, image):
        return self.projects[self.datasets[image["datasetId"]]["projectId"]]["meta"]

    def check_tags(self, image, tags):
        known = {tag["name"] for tag in self.meta_of(image)["tags"]}
        if unknown := {tag["name"] for tag in tags} - known:
            raise Refused(f"{image['name']}: tags {sorted(unknown)}")

    def add_figure(self, image, item, title, geometry):
        if unknown := geometry.keys() - GEOMETRY:
            raise Refused(f"{image['name']}: a geometry with {sorted(unknown)}")
        shape = next(c["shape"] for c in self.meta_of(image)["classes"] if c["title"] == title)
        if shape not in ("any", item["geometryType"]):
            raise Refused(f"{image['name']}: a {item['geometryType']} of {title}, which is a {shape}")
        self.check_tags(image, item.get("tags", []))
        image["labelsCount"] += 1
        fields = {"classTitle": title, "geometryType": item["geometryType"], "description": item.get("description", "")}
        return self.new(self.figures, imageId=image["id"], **fields, tags=item.get("tags", []), geometry=geometry)

    @call("annotations.bulk.add", ["datasetId", "annotations", "skipBoundsValidation"])
    def add_annotations(self, body):
        if len(body["annotations"]) > LONGEST_LIST:
            raise Refused(f"{len(body['annotations'])} annotations")
        for item in body["annotations"]:
            image = self.one_of(self.images, item["imageId"], "image")
            annotation = item["annotation"]
            if image["datasetId"] != body["datasetId"]:
                raise Refused(f"{image['name']} is in another dataset")
            if annotation["size"] != {"height": image["height"], "width": image["width"]}:
                raise Refused(f"{image['name']}: an annotation of {annotation['size']}")
            self.check_tags(image, annotation["tags"])
            image["description"], image["tags"] = annotation.get("description", ""), annotation["tags"]
            titles = {c["title"] for c in self.meta_of(image)["classes"]}
            for thing in annotation["objects"]:
                if thing["classTitle"] not in titles or thing["geometryType"] in SPECIAL:
                    raise Refused(f"{image['name']}: {thing['classTitle']!r}, a {thing['geometryType']}")
                self.add_figure(image, thing, thing["classTitle"], {k: v for k, v in thing.items() if k in GEOMETRY})
        return {"success": True}

    @call("figures.bulk.add", ["datasetId", "figures"], ["skipBoundsValidation"])
    def add_figures(self, body):
        answers = []
        for item in body["figures"]:
            image = self.one_of(self.images, item["entityId"], "image")
            titles = {c["id"]: c["title"] for c in self.meta_of(image)["classes"]}
            title = self.one_of(titles, item["classId"], "class")
            geometry = item.get("geometry", {})
            if not geometry and item["geometryType"] != "alpha_mask":
                raise Refused(f"a {item['geometryType']} without geometry")
            answers.append(
                {"id": self.add_figure(image, item, title, {k: v for k, v in geometry.items() if k in GEOMETRY})["id"]}
            )
        return answers

    @call("figures.bulk.upload.geometry")
    def upload_geometry(self, body):
        contents = [content for _, content in body.found]
        for number, data in zip(contents[::2], contents[1::2], strict=True):
            self.one_of(self.figures, int(number), "figure")["geometry"] = {"bitmap": json.loads(data)}
        return {"success": True}

    @call("figures.tags.bulk.add", ["projectId", "tags"])
    def tag_figures(self, body):
        known = self.projects[body["projectId"]]["meta"]["tags"]
        for item in body["tags"]:
            figure = self.one_of(self.figures, item["figureId"], "figure")
            figure["tags"] = [*figure["tags"], self.tag(known, item["tagId"], item["value"])]
        return {"success": True}

    @call("image-tags.bulk.add-to-image", ["tagId", "value", "ids"])
    def tag_images(self, body):
        for number in body["ids"]:
            image = self.one_of(self.images, number, "image")
            image["tags"] = [*image["tags"], self.tag(self.meta_of(image)["tags"], body["tagId"], body["value"])]
        return {"success": True}

    def tag(self, known, number, value):
        name = self.one_of({tag["id"]: tag["name"] for tag in known}, number, "tag")
        return {"name": name, **({} if value is None else {"value": value})}

    @call(
        "annotations.bulk.info",
        ["datasetId", "imageIds"],
        ["forceMetadataForLinks", "integerCoords", "withCustomBigData", "withCustomData"],
    )
    def annotations(self, body):
        found = []
        for number in body["imageIds"]:
            image = self.one_of(self.images, number, "image")
            objects = [
                {key: value for key, value in figure.items() if key not in ("geometry", "imageId")}
                | ({} if figure["geometryType"] == "alpha_mask" else figure["geometry"])
                for figure in self.figures.values()
                if figure["imageId"] == number
            ]
            size = {"height": image["height"], "width": image["width"]}
            annotation = {"size": size, "description": image["description"], "tags": image["tags"], "objects": objects}
            found.append(
                {
                    "imageId": number,
                    "imageName": image["name"],
                    "annotation": annotation,
                    "createdAt": WHEN,
                    "updatedAt": WHEN,
                }
            )
        return found

    @call("annotations.info", ["imageId"], ["forceMetadataForLinks", "integerCoords", "withCustomBigData"])
    def annotation(self, body):
        return self.annotations({"imageIds": [body["imageId"]]})[0]

    @call("figures.bulk.download.geometry", ["ids"])
    def download_geometry(self, body):
        figures = [self.one_of(self.figures, number, "figure") for number in body["ids"]]
        return parts_of((f["id"], json.dumps(f["geometry"]["bitmap"]).encode()) for f in figures)


class Handler(BaseHTTPRequestHandler):
    """HTTP around a `Platform`."""

    protocol_version = "HTTP/1.1"
    platform: Platform

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.reply(b"")

    def do_POST(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            self.reply(b"".join(chunks))
        else:
            self.reply(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def reply(self, content):
        url, platform = urlsplit(self.path), self.platform
        method, query = url.path.removeprefix(PREFIX), dict(parse_qsl(url.query))
        kind = self.headers.get("Content-Type", "")
        try:
            if self.headers.get("x-api-key") != TOKEN:
                raise Refused("no token", status=401)
            body = query if self.command == "GET" else content
            if kind.startswith("multipart/"):
                body = Parts(content, kind)
            elif kind.startswith("application/json"):
                body = json.loads(content or b"{}", parse_constant=self.no_number)
            answer = platform.answer(method, body, query)
            status = 200
        except Refused as error:
            platform.refused.append(f"{method}: {error}")
            answer, status = {"error": str(error), "details": error.details}, error.status
        except Exception as error:  # what can't be understood isn't accepted
            platform.refused.append(f"{method}: {error!r}")
            answer, status = {"error": repr(error), "details": {}}, 400
        data, kind = answer if isinstance(answer, tuple) else (json.dumps(answer).encode(), "application/json")
        platform.requests[method] += 1
        platform.got[method] += len(content)
        platform.sent[method] += len(data) * (self.command == "POST")
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    @staticmethod
    def no_number(text):
        raise Refused(f"{text} in JSON")


class Server(ThreadingHTTPServer):
    """Clients may hang up."""

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def serve():
    """Start a server of its own: (its `Platform`, address, what ends it)."""
    platform = Platform()
    server = Server(("127.0.0.1", 0), type("OfOne", (Handler,), {"platform": platform}))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()

    def stop():
        server.shutdown()
        server.server_close()
        thread.join()

    return platform, f"http://127.0.0.1:{server.server_port}", stop
