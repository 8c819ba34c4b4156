"""Malformed rows: refused, or counted and named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from toolkit.errors import BrokenInput, UsageError, unknown_name

POLICIES = ("error", "skip")
NAMED = 20
"""Malformed rows that are kept by name; the others are only counted."""


@dataclass(frozen=True)
class BadRow:
    """``where`` is the file and its line (CSV) or record (TFRecord), both counted from 1."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass
class Tally:
    """What one pass over a table met: rows taken, rows left out, and the first of these by name.

    ``seen`` counts both, up to and with the block that was read last: the number of the row that comes next.
    ``place`` says where a row of that block is, by its number, for whoever finds a fault in it later.
    """

    policy: str = "error"
    rows: int = 0
    left_out: int = 0
    seen: int = 0
    named: list[BadRow] = field(default_factory=list)
    place: Callable[[int], str] = lambda row: f"row {row + 1:,}"

    def __post_init__(self) -> None:
        check_policy(self.policy)

    def refuse(self, where: str, what: str, *, row: int) -> None:
        """Counts a malformed row.

        Args:
            where: the file and its line or record.
            what: is wrong.
            row: its number among all rows of this pass, malformed or not, from 0.

        Raises:
            BrokenInput: the policy is ``"error"``.
        """
        if self.policy == "error":
            raise BrokenInput(what, where=where, remedy="correct the row, or leave such rows out (--bad-rows skip)")
        self.left_out += 1
        if len(self.named) < NAMED:
            self.named.append(BadRow(where, what))

    def describe(self) -> dict[str, object]:
        """As JSON values."""
        return {"rows": self.rows, "bad_rows": self.left_out, "first_bad_rows": [str(row) for row in self.named]}


def check_policy(policy: str) -> None:
    """Raises UsageError for what is no policy."""
    if not isinstance(policy, str):
        raise UsageError(f"bad rows: {policy!r} is no policy", remedy=f"there are: {', '.join(POLICIES)}")
    if policy not in POLICIES:
        raise unknown_name("way with bad rows", policy, POLICIES)
