"""Files that somebody asked to download, each pinned by its sha256: ``URL#sha256=HEX``, kept in the user's cache."""

from __future__ import annotations

import os
import re
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from toolkit import store
from toolkit.errors import BrokenInput, MissingError, UsageError

SECONDS = 60.0
"""Without a byte for so long, a download is given up."""

MOST_BYTES = 500_000_000


def fetch(text: str) -> Path:
    """The file, executable, from the cache if it is there in this very content.

    Args:
        text: ``URL#sha256=HEX``, http or https.

    Raises:
        UsageError: no such URL, or no sha256 behind it.
        MissingError: it cannot be reached.
        BrokenInput: what came is not what the sha256 says.
    """
    url, _, pin = text.partition("#")
    match = re.fullmatch(r"sha256=([0-9a-fA-F]{64})", pin)
    if urllib.parse.urlsplit(url).scheme not in ("http", "https") or match is None:
        raise UsageError(f"{text!r} is no URL with its sha256", remedy="write https://…#sha256=HEX, of 64 digits")
    digest = match[1].lower()
    made = store.cache_dir() / "downloads" / digest
    if made.is_file() and store.sha256_file(made) == digest:
        return made
    with store.disk_errors(made):
        made.parent.mkdir(parents=True, exist_ok=True)
    part = made.with_name(f"{digest}.{os.getpid()}.part")
    try:
        with store.disk_errors(part), open(part, "wb") as stream:
            _copy(url, stream)
        found = store.sha256_file(part)
        if found != digest:
            raise BrokenInput(
                f"is of sha256 {found[:16]}…, not {digest[:16]}…", where=url, remedy="check the address and the digest"
            )
        part.chmod(0o755)
        os.replace(part, made)
    finally:
        part.unlink(missing_ok=True)
    return made


def _copy(url: str, stream: object) -> None:
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:
            size = 0
            while chunk := answer.read(1 << 20):
                size += len(chunk)
                if size > MOST_BYTES:
                    raise BrokenInput(f"is larger than {MOST_BYTES / 1e6:.0f} MB", where=url)
                stream.write(chunk)  # type: ignore[attr-defined]
    except (urllib.error.URLError, TimeoutError, ConnectionError, ValueError) as error:
        why = getattr(error, "reason", None) or error
        raise MissingError(
            f"cannot be downloaded ({why})", where=url, remedy="check the address and the network"
        ) from error
