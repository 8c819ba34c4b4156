"""How much of a graph a delegate took, from what TFLite, the GPU delegate and ``benchmark_model`` say of it.

Three voices, after their sources: ``Subgraph::ReplaceNodeSubsetsWithDelegateKernels`` (``Replacing 29 out of 31
node(s) …``; on Android always, elsewhere in debug builds only), the GPU delegate's ``model_builder`` (``29 operations
will run on the GPU, and the remaining 2 …``) and ``BenchmarkTfLiteModel::Init`` (``Explicitly applied GPU …``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from devices.programs.google_log import Line

_REPLACING = re.compile(
    r"Replacing (?P<nodes>\d{1,9})(?: out of (?P<of>\d{1,9}))? node\(s\) with delegate \((?P<delegate>.*?)\) node"
    r"(?:, yielding (?P<subsets>\d{1,9}) partitions)?(?: for subgraph (?P<subgraph>\d{1,9}))?"
)
_ON_GPU = re.compile(
    r"(\d{1,9}) operations will run on the GPU, and the remaining (\d{1,9}) operations will run on the CPU"
)
_NOT_ON_GPU = re.compile(r"No operations will run on the GPU, and all (\d{1,9}) operations will run on the CPU")
_APPLIED = re.compile(
    r"Explicitly applied (?P<delegate>.+?) delegate, and the model graph will be (?P<share>completely|partially) "
    r"executed by the delegate(?: w/ (?P<kernels>\d{1,9}) delegate kernels)?"
)
_IDLE = re.compile(r"Though (?P<delegate>.+?) delegate is explicitly applied, the model graph will not be executed")
_ABSENT = {
    "gpu": re.compile(
        r"GPU acceleration is unsupported on this platform|The GPU delegate compile options are only supported on"
        r"|GPU accelerator could not be loaded and registered|GPU accelerator registration disabled"
    ),
    "npu": re.compile(r"NPU accelerator could not be loaded and registered|NPU accelerator is disabled"),
}
_NAMES = {"gpu": r"gpu|litert_|mldrift|metal", "xnnpack": r"xnnpack", "npu": r"dispatch|nnapi|hexagon|coreml"}
"""What a delegate of a kind calls itself: ``TfLiteGpuDelegateV2``, ``LITERT_CL``, ``TfLiteXNNPackDelegate``, …"""

_UNSAID = "the output does not say how many nodes the delegate took"


@dataclass(frozen=True, kw_only=True)
class Delegation:
    """What a delegate took of the graph.

    ``delegated`` is (nodes taken, nodes of the graph); ``partitions`` counts the delegate's own; ``share`` is
    ``"all"``, ``"some"`` or ``"none"`` and may be known where the counts are not. ``fallback`` is the line that says
    the wanted delegate took nothing, so that the CPU did the work. ``missing`` says why a figure is ``None``.
    """

    delegated: tuple[int, int] | None
    partitions: int | None
    share: str | None
    fallback: str | None
    missing: dict[str, str] = field(default_factory=dict)


def read_delegation(lines: Sequence[Line], *, delegate: str | None = None, subgraph: int = 0) -> Delegation:
    """Reads one run's lines.

    Args:
        delegate: ``"gpu"``, ``"xnnpack"``, ``"npu"`` or a part of a delegate's name; ``None``: all of them together.
        subgraph: the index of the subgraph that ran; 0 unless another signature was chosen.
    """
    found = _Found(lines, delegate, subgraph)
    missing: dict[str, str] = {}
    delegated = found.delegated()
    if delegated is None:
        missing["delegated"] = _UNSAID
    share = found.share(delegated)
    partitions = found.partitions(share)
    if partitions is None:
        missing["partitions"] = (
            f"the output counts {sum(found.parts.values())} partitions, the delegate's and the CPU's together"
            if found.parts
            else "the output does not say into how many partitions the graph was cut"
        )
    return Delegation(delegated=delegated, partitions=partitions, share=share, fallback=found.fallback, missing=missing)


class _Found:
    """All that the lines say of the wanted delegate in the wanted subgraph."""

    def __init__(self, lines: Sequence[Line], delegate: str | None, subgraph: int) -> None:
        self.taken: dict[str, int] = {}  # by delegate; one that is applied again says the same again
        self.parts: dict[str, int] = {}
        self.total: int | None = None
        self.shares: list[str] = []
        self.kernels: int | None = None
        self.fallback: str | None = None
        self.on_gpu: tuple[int, int] | None = None
        wanted = re.compile(_NAMES.get(delegate, re.escape(delegate)) if delegate else "", re.IGNORECASE)
        absent = _ABSENT.get(delegate or "")
        for _, text in lines:
            self._replacing(text, wanted, subgraph)
            self._applied(text, wanted)
            if delegate == "gpu":
                self._gpu(text)
            if absent and absent.match(text):
                self.shares.append("none")
                self.fallback = self.fallback or text

    def delegated(self) -> tuple[int, int] | None:
        if self.total is not None and (self.taken or "none" in self.shares):
            return sum(self.taken.values()), self.total
        return self.on_gpu

    def share(self, delegated: tuple[int, int] | None) -> str | None:
        if delegated is not None:
            return "none" if delegated[0] == 0 else "all" if delegated[0] == delegated[1] else "some"
        for share in ("all", "some", "none"):
            if share in self.shares:
                return share
        return None

    def partitions(self, share: str | None) -> int | None:
        if self.kernels is not None or share == "none":
            return self.kernels or 0
        if share == "all" and len(self.taken) <= 1:
            return sum(self.parts.values()) or 1
        # A subset ends where the other kind of node is next (PartitionGraphIntoIndependentNodeSubsets), so the
        # delegate's and the CPU's take turns: of an even number half are the delegate's, of an odd one nobody knows.
        known = bool(self.parts) and all(count % 2 == 0 for count in self.parts.values())
        return sum(self.parts.values()) // 2 if known else None

    def _replacing(self, text: str, wanted: re.Pattern[str], subgraph: int) -> None:
        match = _REPLACING.match(text)
        if match is None or int(match["subgraph"] or subgraph) != subgraph:
            return
        if self.total is None and match["of"]:
            self.total = int(match["of"])  # a later delegate counts the first one's kernels as nodes
        if wanted.search(match["delegate"]):
            self.taken[match["delegate"]] = int(match["nodes"])
            if match["subsets"]:
                self.parts[match["delegate"]] = int(match["subsets"])

    def _applied(self, text: str, wanted: re.Pattern[str]) -> None:
        match = _APPLIED.match(text)
        if match and wanted.search(match["delegate"]):
            self.shares.append("all" if match["share"] == "completely" else "some")
            count = int(match["kernels"]) if match["kernels"] else 1 if match["share"] == "completely" else None
            if count is not None:
                self.kernels = (self.kernels or 0) + count
        match = _IDLE.match(text)
        if match and wanted.search(match["delegate"]):
            self.shares.append("none")
            self.fallback = self.fallback or text

    def _gpu(self, text: str) -> None:
        match = _ON_GPU.match(text)
        if match:
            self.on_gpu = int(match[1]), int(match[1]) + int(match[2])
        match = _NOT_ON_GPU.match(text)
        if match:
            self.on_gpu = 0, int(match[1])
            self.shares.append("none")
            self.fallback = self.fallback or text
