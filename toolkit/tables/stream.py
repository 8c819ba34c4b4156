"""Blocks of columns on their way: mapped in parallel, mixed from several files, shuffled, cut to batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

import numpy as np

Columns = dict[str, np.ndarray]
T = TypeVar("T")
R = TypeVar("R")


def size(columns: Columns) -> int:
    """Rows of a block."""
    return len(next(iter(columns.values())))


def take(columns: Columns, rows: np.ndarray | slice) -> Columns:
    """Some rows of a block, by index, mask or slice."""
    return {name: values[rows] for name, values in columns.items()}


def joined(blocks: list[Columns]) -> Columns:
    """Blocks one after the other; at least one."""
    if len(blocks) == 1:
        return blocks[0]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def gathered(blocks: Iterable[Columns]) -> Columns:
    """All rows of many blocks in little memory: equal texts become one object; at least one block."""
    parts: dict[str, list[np.ndarray]] = {}
    known: dict[str, dict[str, str]] = {}
    for block in blocks:
        for name, values in block.items():
            if values.dtype == object:
                words = known.setdefault(name, {})
                values = np.array([words.setdefault(text, text) for text in values], dtype=object)
            parts.setdefault(name, []).append(values)
    # A column at a time: its parts are let go before the next is joined.
    return {name: np.concatenate(parts.pop(name)) for name in list(parts)}


def ahead(work: Callable[[T], R], items: Iterable[T], pool: Executor, most: int) -> Iterator[R]:
    """``work`` of every item, in order, with at most ``most`` of them under way: memory stays flat."""
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def interleaved(sources: Iterable[Iterator[T]], cycle: int) -> Iterator[T]:
    """One item of each of ``cycle`` sources in turn; where one ends, the next takes its place."""
    rest = iter(sources)
    active: deque[Iterator[T]] = deque()
    while True:
        while len(active) < cycle and (fresh := next(rest, None)) is not None:
            active.append(fresh)
        if not active:
            return
        source = active.popleft()
        try:
            item = next(source)
        except StopIteration:
            continue
        active.append(source)
        yield item


def shuffled(blocks: Iterable[Columns], buffer: int, rng: np.random.Generator) -> Iterator[Columns]:
    """Rows in random order, as through a buffer of ``buffer`` rows: each incoming row changes places with one in it.

    With a buffer of all rows every order is equally likely.
    """
    filling: list[Columns] = []
    pool: Columns | None = None
    for block in blocks:
        if pool is None:
            filling.append(block)
            if sum(map(size, filling)) < buffer:
                continue
            everything = joined(filling)
            filling = []
            pool = {name: values[:buffer].copy() for name, values in everything.items()}
            block = take(everything, slice(buffer, None))
        for first in range(0, size(block), buffer):
            incoming = take(block, slice(first, first + buffer))
            places = rng.choice(buffer, size(incoming), replace=False)
            yield take(pool, places)
            for name, values in incoming.items():
                pool[name][places] = values
    rest = pool if pool is not None else joined(filling) if filling else None
    if rest is not None:
        yield take(rest, rng.permutation(size(rest)))


def rebatched(blocks: Iterable[Columns], rows: int, *, drop_remainder: bool = False) -> Iterator[Columns]:
    """The same rows in blocks of exactly ``rows``, the last one shorter or left out."""
    waiting: list[Columns] = []
    count = 0
    for block in blocks:
        waiting.append(block)
        count += size(block)
        if count < rows:
            continue
        everything = joined(waiting)
        whole = count - count % rows
        for first in range(0, whole, rows):
            yield take(everything, slice(first, first + rows))
        waiting, count = ([take(everything, slice(whole, None))] if count > whole else []), count - whole
    if count and not drop_remainder:
        yield joined(waiting)


def arranged(
    blocks: Iterable[Columns],
    rows: int | None,
    buffer: int,
    rng: np.random.Generator,
    *,
    drop_remainder: bool = False,
) -> Iterator[Columns]:
    """Blocks shuffled through ``buffer`` rows (0: as they are) and cut to ``rows`` (``None``: as they come)."""
    if buffer:
        blocks = shuffled(blocks, buffer, rng)
    return iter(blocks) if rows is None else rebatched(blocks, rows, drop_remainder=drop_remainder)
