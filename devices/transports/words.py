"""Words for a remote shell: ssh and adb hand one line to the device's ``sh``, so every word is quoted."""

from __future__ import annotations

import shlex
from collections.abc import Sequence


def joined(words: Sequence[str]) -> str:
    """One line that a POSIX shell takes apart into exactly these words.

    Raises:
        ValueError: a word holds a NUL, which no command line can.
    """
    if any("\0" in word for word in words):
        raise ValueError("a word of a command line holds a NUL character")
    return " ".join(shlex.quote(word) for word in words)
