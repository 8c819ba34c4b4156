"""Downloads that somebody asked for: only what the sha256 says is kept, and nothing else is left."""

from __future__ import annotations

import hashlib
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from devices import downloads
from toolkit.cli.benching import with_runner
from toolkit.errors import BrokenInput, MissingError, UsageError

DATA = b"#!/bin/sh\necho benchmark_model\n"
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """A server's address, and what it was asked for."""
    monkeypatch.setenv("EDGE_EXPORT_CACHE", str(tmp_path / "cache"))
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(200 if self.path == "/tool" else 404)
            self.end_headers()
            self.wfile.write(DATA)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", paths
    server.shutdown()
    server.server_close()


def left(tmp_path: Path) -> list[str]:
    return [p.name for p in (tmp_path / "cache" / "downloads").iterdir()]


def test_it_is_fetched_once_and_can_be_started(asked: tuple[str, list[str]], tmp_path: Path) -> None:
    url, paths = asked
    one = downloads.fetch(f"{url}/tool#sha256={DIGEST.upper()}")
    assert one.read_bytes() == DATA
    assert os.access(one, os.X_OK)
    assert downloads.fetch(f"{url}/tool#sha256={DIGEST}") == one
    assert paths == ["/tool"]
    one.write_bytes(b"changed")
    assert downloads.fetch(f"{url}/tool#sha256={DIGEST}").read_bytes() == DATA
    assert left(tmp_path) == [DIGEST]


def test_another_content_is_refused(asked: tuple[str, list[str]], tmp_path: Path) -> None:
    with pytest.raises(BrokenInput, match="is of sha256"):
        downloads.fetch(f"{asked[0]}/tool#sha256={'0' * 64}")
    assert left(tmp_path) == []


def test_nothing_there(asked: tuple[str, list[str]], tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="cannot be downloaded"):
        downloads.fetch(f"{asked[0]}/nowhere#sha256={DIGEST}")
    with pytest.raises(MissingError, match="cannot be downloaded"):
        downloads.fetch(f"http://127.0.0.1:1/tool#sha256={DIGEST}")
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    "text", ["tool", "https://x/tool", "https://x/tool#sha256=12", "file:///etc/passwd#sha256=" + DIGEST]
)
def test_what_is_not_pinned_is_not_fetched(text: str) -> None:
    with pytest.raises(UsageError, match="no URL with its sha256"):
        downloads.fetch(text)


def test_only_android_targets_without_a_runner_get_it() -> None:
    runner = Path("/cache/tool")
    assert with_runner("android:S/gpu,threads=2", runner) == "android:S/gpu,threads=2,benchmark=/cache/tool"
    for target in ("cpu", "android:S,libs=x", "android:S,benchmark=y", "raspberry-pi:pi@h"):
        assert with_runner(target, runner) == target
