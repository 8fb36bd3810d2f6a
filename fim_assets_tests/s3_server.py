"""An S3 server on loopback, in a process of its own, that can be told to misbehave."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import s3fs
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

BUCKET = "corpus"

_SLOW_DOWN = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your rate.</Message></Error>"
)

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@dataclass(frozen=True)
class Faults:
    """Of all requests to the bucket, each so many-th one goes wrong; 0 is none.

    Attributes:
        refused: Is answered with 503 Slow Down.
        cut: Ends in the middle of what it reads.
        slow: Waits for half a second.
    """

    refused: int = 0
    cut: int = 0
    slow: int = 0


class _Misbehaving:
    def __init__(self, application: Application, faults: Faults) -> None:
        self._application = application
        self._faults = faults
        self._requests = 0
        self._lock = Lock()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        with self._lock:
            self._requests += 1
            number = self._requests
        if _is_turn(number, self._faults.slow):
            time.sleep(0.5)
        if _is_turn(number, self._faults.refused):
            start_response("503 Slow Down", [("Content-Type", "application/xml")])
            return [_SLOW_DOWN]
        body = self._application(environ, start_response)
        if environ["REQUEST_METHOD"] == "GET" and _is_turn(number, self._faults.cut):
            return _half(body)
        return body


def _is_turn(number: int, each: int) -> bool:
    return bool(each) and number % each == 0


def _half(body: Iterable[bytes]) -> Iterator[bytes]:
    """Half of what the header promises: then the connection is closed."""
    content = b"".join(body)
    yield content[: len(content) // 2]


def serve(faults: str) -> None:
    """Serve until killed; the port is the first line of standard output."""
    application = _Misbehaving(
        DomainDispatcherApplication(create_backend_app), Faults(**json.loads(faults))
    )
    server = make_server("127.0.0.1", 0, application, threaded=True)
    print(server.server_port, flush=True)
    server.serve_forever()


@contextmanager
def s3_server(log: Path, **faults: int) -> Iterator[dict[str, str]]:
    """Serve an empty bucket; gives the variables of the environment that lead there."""
    code = f"from {__name__} import serve; serve({json.dumps(faults)!r})"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=output
        )
    s3fs.S3FileSystem.clear_instance_cache()  # it may know another server
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        variables = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        yield variables
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        process.kill()
        process.wait()


def file_system() -> s3fs.S3FileSystem:
    """The server that this process's environment leads to, with a bucket."""
    server = s3fs.S3FileSystem(
        endpoint_url=os.environ["AWS_ENDPOINT_URL"], use_listings_cache=False
    )
    if not server.exists(BUCKET):
        server.mkdir(BUCKET)
    return server
