"""Runs an evaluation: blocks of samples to both sides, facts into tables; what is there already is not made again.

One worker answers a block on the cloud's side, then on every edge's, one after the other, in processes of its own.
Workers take the blocks in turn; what they make depends on the block alone.
"""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from devices import sessions
from devices.device import Device, RunnerFailed
from devices.evaluation import facts as made
from devices.evaluation import question as questions
from devices.evaluation import worst
from devices.evaluation.question import Question
from devices.evaluation.table import Block, Table

BATCH = 256
"""Samples that are answered together; the answers do not depend on it."""
RETRIES = 2
"""Times that a block is tried again after the process that answered it was killed."""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """A block's samples.

    Args:
        index: of the block.
        inputs: by the edge's input names, ``[N, ...]``.
        labels: ``[N]`` or shaped like the outputs, or ``None``.
        rows: columns that a person recognises the sample by.
    """

    index: int
    inputs: Mapping[str, np.ndarray]
    labels: np.ndarray | None = None
    rows: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(next(iter(self.inputs.values())))


@dataclass(frozen=True, kw_only=True)
class Edge:
    """One artifact on one target, and where its facts go."""

    recipe: str
    target: str
    device: Device
    model: Path
    table: Table


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """The reference."""

    target: str
    device: Device
    model: Path


@dataclass(frozen=True, kw_only=True)
class Asking:
    """What turns answers into a question; see :func:`devices.evaluation.question.decide`."""

    output: str | None = None
    metric: str | None = None
    names: tuple[str, ...] = ()
    functions: tuple[made.Function, ...] = ()

    def decide(self, outputs: Mapping[str, np.ndarray], labels: np.ndarray | None) -> Question:
        """The question for outputs like these."""
        return questions.decide(outputs, labels, output=self.output, metric=self.metric, functions=self.names)


class Worker:
    """Answers blocks with sessions of its own, opened when they are needed and again when one was killed."""

    def __init__(self, cloud: Cloud, edges: Sequence[Edge], asking: Asking, batch: int) -> None:
        self._cloud, self._edges, self._asking, self._batch = cloud, edges, asking, batch
        self._open: dict[int, sessions.Session] = {}

    def __call__(self, samples: Samples, edges: Sequence[int], asked: Question | None) -> tuple[Question, list[Block]]:
        """The block's facts, of the edges whose numbers are given, and the question, decided here if it is not yet."""
        feed = samples.inputs if len(samples.inputs) > 1 else {"": next(iter(samples.inputs.values()))}
        # The samples are named like the edge's inputs; an only one is the cloud's only one by any name.
        cloud = self._answer(-1, feed)
        found = []
        for number in edges:
            edge = self._edges[number]
            where = f"{edge.recipe} on {edge.target} against {self._cloud.target}"
            answer = made.paired(self._answer(number, samples.inputs), cloud)
            made.check_names(made.outputs_of(cloud), made.outputs_of(answer), where)
            if asked is None:
                asked = self._asking.decide(made.outputs_of(cloud), samples.labels)
            facts = made.of(cloud, answer, samples.labels, asked, where=where, functions=self._asking.functions)
            block = Block(index=samples.index, facts=facts)
            examples = worst.of(facts, start=block.start, inputs=samples.inputs, rows=samples.rows)
            found.append(replace(block, worst=examples))
        assert asked is not None
        return asked, found

    def close(self) -> None:
        """Ends all sessions."""
        for session in self._open.values():
            session.close()
        self._open.clear()

    def _answer(self, number: int, inputs: Mapping[str, np.ndarray]) -> Any:
        side = self._cloud if number < 0 else self._edges[number]
        for attempt in range(RETRIES + 1):
            session = self._open.get(number)
            try:
                if session is None:
                    session = self._open[number] = sessions.start(side.device, side.model, batch=self._batch)
                return session.answer(inputs)
            except RunnerFailed as error:
                if session is not None:
                    self._open.pop(number).close()
                if attempt == RETRIES or not killed(error):
                    raise
        raise AssertionError("unreachable")


def killed(error: RunnerFailed) -> bool:
    """Whether the process was ended from outside, which says nothing of the model."""
    return "SIGKILL" in error.failure.message or "SIGTERM" in error.failure.message


def run(
    blocks: Callable[[], Iterator[Samples]],
    cloud: Cloud,
    edges: Sequence[Edge],
    asking: Asking,
    *,
    workers: int = 1,
    batch: int = BATCH,
    wanted: Callable[[int], bool] = lambda index: True,
    done: Callable[[int], None] = lambda rows: None,
) -> Question | None:
    """Makes the facts of all blocks that are not there yet; the question that they answer, ``None`` without blocks.

    Args:
        blocks: the samples in their order, anew each time it is called.
        cloud: the reference.
        edges: what is compared with it.
        asking: what the question is made from; the first block decides it.
        workers: blocks that are answered at a time.
        batch: see :data:`BATCH`.
        wanted: whether a block is to be made here, by its index: others are left to other machines.
        done: told how many rows were made or found.

    Raises:
        BrokenInput, DeviceError, MissingError: as the devices do; what was made until then is kept.
    """
    asked = next((kept for edge in edges if (kept := edge.table.asked()) is not None), None)
    with contextlib.ExitStack() as stack:
        crew = stack.enter_context(Threads(cloud, edges, asking, batch, workers))
        pending: dict[Future[Any], tuple[Samples, list[int]]] = {}

        def collect(until: int) -> None:
            nonlocal asked
            while len(pending) > until:
                finished, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in sorted(finished, key=lambda f: pending[f][0].index):
                    samples, numbers = pending.pop(future)
                    asked, found = future.result()
                    for number, block in zip(numbers, found, strict=True):
                        edges[number].table.write(block, asked)
                    done(samples.count)

        for samples in blocks():
            numbers = [i for i, edge in enumerate(edges) if not edge.table.has(samples.index)]
            if not numbers or not wanted(samples.index):
                done(samples.count)
                continue
            pending[crew.submit(samples, numbers, asked)] = (samples, numbers)
            # Until the first block has said what the question is, nothing else is begun.
            collect(0 if asked is None else 2 * workers - 1)
        collect(0)
    return asked


class Threads:
    """Workers of this process: the models run in processes of their own, so threads wait for them."""

    def __init__(self, cloud: Cloud, edges: Sequence[Edge], asking: Asking, batch: int, workers: int) -> None:
        self._idle: queue.Queue[Worker] = queue.Queue()
        self._all = [Worker(cloud, edges, asking, batch) for _ in range(workers)]
        for worker in self._all:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(workers)

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, *error: object) -> None:
        self._threads.shutdown(wait=not any(error), cancel_futures=True)
        for worker in self._all:
            worker.close()

    def submit(self, samples: Samples, edges: Sequence[int], asked: Question | None) -> Future[Any]:
        """A block to a worker that is idle, soon."""
        return self._threads.submit(self._work, samples, edges, asked)

    def _work(self, samples: Samples, edges: Sequence[int], asked: Question | None) -> Any:
        worker = self._idle.get()
        try:
            return worker(samples, edges, asked)
        finally:
            self._idle.put(worker)
