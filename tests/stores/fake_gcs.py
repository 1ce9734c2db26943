"""Google Cloud Storage in a thread: the part of its JSON API that gcsfs and TensorStore use, with preconditions.

Objects have generations, puts and deletes are atomic, `ifGenerationMatch` is kept, listings are consistent. It asks for
no credentials. `server.objects` is {bucket: {name: Object}}; `server.puts` counts them by name.
"""

import base64
import collections
import contextlib
import dataclasses
import datetime
import email.parser
import email.policy
import hashlib
import http.server
import json
import re
import struct
import threading
import urllib.parse
import uuid

import google_crc32c


@dataclasses.dataclass
class Object:
    """One generation of an object."""

    content: bytes
    generation: int
    updated: datetime.datetime
    metadata: dict


class Server(http.server.ThreadingHTTPServer):
    """Serves on a free port of the loopback; `url` is its address."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *buckets):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects = {name: {} for name in buckets}
        self.puts, self.uploads = collections.Counter(), {}
        self.lock, self._generation = threading.RLock(), 0
        self.fails = None  # or (method, object's name) -> status to fail with, or None
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def put(self, bucket, name, content, metadata, match):
        """The new object; None where `match` is not its generation (0: it is not there)."""
        with self.lock:
            there = self.objects[bucket].get(name)
            if match is not None and int(match) != (there.generation if there else 0):
                return None
            self._generation += 1
            self.puts[name] += 1
            now = datetime.datetime.now(datetime.UTC)
            made = self.objects[bucket][name] = Object(content, self._generation, now, metadata)
            return made

    def names(self, bucket, prefix=""):
        """Names of a bucket's objects below `prefix`, sorted."""
        return sorted(name for name in self.objects[bucket] if name.startswith(prefix))


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Quiet."""

    def _reply(self, status, content=b"", kind="application/json", **headers):
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):
            if self.command != "HEAD":
                self.wfile.write(content)

    def _error(self, status):
        self._reply(status, {"error": {"code": status, "message": f"status {status}"}})

    def _body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _handle(self):
        body, url = self._body(), urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        parts = [urllib.parse.unquote(part) for part in re.sub(r"/+", "/", url.path).strip("/").split("/")]
        upload = parts[:1] == ["upload"] or parts[:2] == ["resumable", "upload"]
        while parts and parts[0] in ("upload", "download", "resumable", "storage", "v1"):
            parts.pop(0)
        bucket, name = (parts[1] if len(parts) > 1 else ""), "/".join(parts[3:])
        status = self.server.fails and self.server.fails(self.command, name or query.get("name", ""))
        if status:
            self._error(status)
        elif bucket not in self.server.objects:
            self._error(404)
        elif upload:
            self._upload(bucket, query, body)
        elif len(parts) == 2:
            self._reply(200, {"kind": "storage#bucket", "name": bucket, "location": "US", "locationType": "region"})
        elif len(parts) < 4:
            self._list(bucket, query)
        elif "rewriteTo" in parts or "copyTo" in parts:
            at = parts.index("rewriteTo" if "rewriteTo" in parts else "copyTo")
            source = self.server.objects[bucket].get("/".join(parts[3:at]))
            made = source and self.server.put(parts[at + 2], "/".join(parts[at + 4 :]), source.content, {}, None)
            where = (parts[at + 2], "/".join(parts[at + 4 :]))
            self._reply(200, {"done": True, "resource": _resource(*where, made)}) if source else self._error(404)
        else:
            self._object(bucket, name, query, body)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _handle  # noqa: N815

    def _list(self, bucket, query):
        prefix, cut, folders, items = query.get("prefix", ""), query.get("delimiter"), set(), []
        with self.server.lock:
            for name in self.server.names(bucket, prefix):
                rest = name[len(prefix) :]
                if name < query.get("startOffset", "") or ("endOffset" in query and name >= query["endOffset"]):
                    continue
                if cut and cut in rest and not (query.get("includeTrailingDelimiter") and rest.endswith(cut)):
                    folders.add(prefix + rest.split(cut)[0] + cut)
                else:
                    items.append(_resource(bucket, name, self.server.objects[bucket][name]))
        items = items[: int(query.get("maxResults", len(items)))]
        self._reply(200, {"kind": "storage#objects", "items": items, "prefixes": sorted(folders)})

    def _object(self, bucket, name, query, body):
        with self.server.lock:
            found = self.server.objects[bucket].get(name)
            match = query.get("ifGenerationMatch")
            if self.command == "DELETE" and found and (match is None or int(match) == found.generation):
                del self.server.objects[bucket][name]
                return self._reply(204)
        if found is None:
            return self._error(404)
        if match is not None and int(match) != found.generation:
            return self._error(412)
        if query.get("ifGenerationNotMatch") == str(found.generation):
            return self._reply(304)
        if self.command == "PATCH":
            found.metadata.update(json.loads(body or b"{}").get("metadata") or {})
        if query.get("alt") != "media":
            return self._reply(200, _resource(bucket, name, found))
        content, asked = found.content, re.match(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        headers = {
            "X_Goog_Generation": str(found.generation), "X_Goog_Stored_Content_Length": str(len(content)),
            "X_Goog_Hash": f"crc32c={_crc(content)},md5={_md5(content)}", "ETag": f'"{found.generation}"',
            "Last_Modified": found.updated.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        }  # fmt: skip
        if not asked:
            return self._reply(200, content, "application/octet-stream", **headers)
        first, last = asked.groups()
        start = int(first) if first else max(len(content) - int(last), 0)
        end = min(int(last) + 1 if first and last else len(content), len(content))
        if start >= len(content):
            return self._error(416)
        headers["Content_Range"] = f"bytes {start}-{end - 1}/{len(content)}"
        return self._reply(206, content[start:end], "application/octet-stream", **headers)

    def _upload(self, bucket, query, body):
        metadata, name, match = {}, query.get("name", ""), query.get("ifGenerationMatch")
        if "upload_id" in query:
            upload = self.server.uploads[query["upload_id"]]
            upload["content"] += body
            size = self.headers.get("Content-Range", "*/0").split("/")[1]
            if size == "*" or len(upload["content"]) < int(size):
                return self._reply(308, Range=f"bytes=0-{len(upload['content']) - 1}")
            name, match, metadata, body = upload["name"], upload["match"], upload["metadata"], upload["content"]
        elif query.get("uploadType") == "resumable":
            about, key = json.loads(body or b"{}"), uuid.uuid4().hex
            self.server.uploads[key] = {
                "name": name or about["name"], "match": match, "metadata": about.get("metadata") or {}, "content": b"",
            }  # fmt: skip
            where = f"{self.server.url}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={key}"
            return self._reply(200, b"", Location=where)
        elif query.get("uploadType") == "multipart":
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            parts = list(email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body).iter_parts())
            about = json.loads(parts[0].get_payload(decode=True))
            mark = re.search(r"boundary=['\"]?([^'\";]+)", self.headers["Content-Type"])[1].encode()
            body = _second_part(body, mark)
            name, metadata = name or about["name"], about.get("metadata") or {}
        made = self.server.put(bucket, name, body, metadata, match)
        return self._reply(200, _resource(bucket, name, made)) if made else self._error(412)


def _second_part(body, mark):
    """The content of the second part of a multipart body, byte for byte."""
    second = body.split(b"--" + mark, 2)[2]
    content = second[re.search(rb"\r?\n\r?\n", second).end() :]
    return re.sub(rb"\r?\n$", b"", content[: content.rindex(b"--" + mark)], count=1)


def _resource(bucket, name, found):
    stamp = found.updated.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {
        "kind": "storage#object", "id": f"{bucket}/{name}/{found.generation}", "name": name, "bucket": bucket,
        "generation": str(found.generation), "metageneration": "1", "size": str(len(found.content)),
        "contentType": "application/octet-stream", "timeCreated": stamp, "updated": stamp, "metadata": found.metadata,
        "md5Hash": _md5(found.content), "crc32c": _crc(found.content), "storageClass": "STANDARD",
        "etag": str(found.generation),
    }  # fmt: skip


def _md5(content):
    return base64.b64encode(hashlib.md5(content).digest()).decode()


def _crc(content):
    return base64.b64encode(struct.pack(">I", google_crc32c.value(content))).decode()
