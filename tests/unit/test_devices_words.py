"""Whatever a user calls a file, a model or a tensor: a remote shell takes it as one word and never as a command."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.transports.words import joined

NASTY = [
    "a b",
    "it's",
    '"',
    "$(touch /tmp/pwned)",
    "`id`",
    "a\nb",
    "-rf",
    "--",
    "",
    "*",
    "~",
    "é☃",
    "\\",
    "a;b",
    "a|b&",
]
WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=20)


def taken_apart(line: str) -> list[str]:
    done = subprocess.run(
        ["sh", "-c", f'set -- {line}\nfor w in "$@"; do printf \'%s\\0\' "$w"; done'], capture_output=True, check=True
    )
    return done.stdout.decode().split("\0")[:-1]


def test_nasty_words_come_through() -> None:
    assert taken_apart(joined(NASTY)) == NASTY


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(WORDS, st.sampled_from(NASTY)), min_size=1, max_size=4))
def test_any_words_come_through(words: list[str]) -> None:
    assert taken_apart(joined(words)) == words


def test_no_command_line_can_hold_a_nul() -> None:
    with pytest.raises(ValueError, match="NUL"):
        joined(["a\0b"])
