"""A runner that stays: one process answers many jobs with models that it loads once.

Standard library, Python 3.9; sessions are run on this machine only. The parent writes a folder per job (``plan.json``,
``inputs.npz``) and the plan's path as a line to stdin; the runner leaves ``result.json`` there and answers with a line.
What the runtime prints goes to stderr, whatever it prints it to.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any


class Kept:
    """Makes models as ``make`` does, and gives the same ones again in the next job of the session.

    Args:
        make: a plan to a model.
    """

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make, self._models, self._next = make, [], 0  # type: ignore[var-annotated]
        self.proven = 0

    def __call__(self, plan: dict[str, Any]) -> Any:
        """The model of that turn."""
        if self._next == len(self._models):
            self._models.append(self._make(plan))
        self._next += 1
        return self._models[self._next - 1]

    def begin(self) -> None:
        """A job begins: its first model is the session's first."""
        self._next = 0


def serve(
    make: Callable[..., Any], answer: Callable[..., dict[str, Any]], run: Callable[[str, Callable[..., Any]], int]
) -> int:
    """Does jobs until stdin ends.

    Args:
        make: a plan to a model.
        answer: the job, ``(plan, folder, stages, make)`` to a result.
        run: runs a job whose plan is at a path: ``job.run_one``.
    """
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    kept = Kept(make)

    def job(plan: dict[str, Any], folder: str, stages: Any) -> dict[str, Any]:
        kept.begin()
        batch = int(plan.get("batch") or 1)
        result = answer({**plan, "proven": kept.proven == batch}, folder, stages, kept)
        # A batch that answered bit for bit like single samples once is not tried again.
        if batch > 1 and result.get("batch") == batch and result.get("not_batched") is None:
            kept.proven = batch
        return result

    for line in sys.stdin:
        code = run(line.rstrip("\n"), job)
        replies.write(f"{code}\n")
        replies.flush()
    return 0
