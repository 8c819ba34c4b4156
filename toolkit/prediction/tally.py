"""Which rows were left out, so that an answer keeps the number of its row."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from toolkit.tables import Tally


@dataclass
class Numbered(Tally):
    """A :class:`toolkit.tables.Tally` that says which rows were kept. Rows count from 0 over all files."""

    _refused: list[int] = field(default_factory=list)
    _told: int = 0

    def refuse(self, where: str, what: str, *, row: int) -> None:
        """As :meth:`toolkit.tables.Tally.refuse`."""
        super().refuse(where, what, row=row)
        self._refused.append(row)

    def kept(self) -> np.ndarray:
        """The numbers, int64 ``[N]``, of the rows that were seen since the last call and not refused."""
        found = np.setdiff1d(np.arange(self._told, self.seen), self._refused, assume_unique=True)
        self._told = self.seen
        self._refused.clear()
        return found
