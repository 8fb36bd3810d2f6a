"""A Hub of one repository on the loopback: `python -m … <folder> <name> <commit>`.

Prints its port and serves what `huggingface_hub.snapshot_download` asks for, until it is ended.
"""

import hashlib
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


def serve(folder: Path, name: str, commit: str) -> None:
    files = {path.name: path.read_bytes() for path in folder.iterdir()}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            path = unquote(urlsplit(self.path).path).strip("/")
            api, resolve = f"api/models/{name}", f"{name}/resolve/{commit}/"
            if path == f"{api}/revision/{commit}":
                siblings = [{"rfilename": file} for file in files]
                self.give(json.dumps({"id": name, "sha": commit, "siblings": siblings}).encode())
            elif path == f"{api}/tree/{commit}":
                tree = [
                    {"type": "file", "path": file, "size": len(data), "oid": etag(data)}
                    for file, data in files.items()
                ]
                self.give(json.dumps(tree).encode())
            elif path.startswith(resolve) and path.removeprefix(resolve) in files:
                self.give(files[path.removeprefix(resolve)])
            else:
                self.give(b"{}", 404)

        def give(self, data: bytes, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("X-Repo-Commit", commit)
            self.send_header("ETag", f'"{etag(data)}"')
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        sys.stdout.write(f"{server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()


def etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:40]


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
