"""How far two sets of outputs are apart. Numpy only."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from toolkit.records import Tolerance


@dataclass(frozen=True, kw_only=True)
class Parity:
    """Distances between a reference and what was observed, over all samples.

    ``psnr_db`` has peak = max |reference| and is infinite for equal outputs. ``top1`` is the share of
    samples with the same arg-max, ``None`` where outputs are not scores (last dimension 1, integers);
    in ``top1_decided`` a change between scores that were tied in the reference does not count.
    """

    n: int
    finite: bool
    peak: float
    max_abs: float
    mean_abs: float
    cosine: float
    psnr_db: float
    top1: float | None
    top1_decided: float | None


@dataclass(frozen=True, kw_only=True)
class Sums:
    """What a :class:`Parity` is made of, so that blocks of samples can be measured apart and put together.

    ``size`` counts numbers, ``n`` samples, ``places`` the arg-maxes compared (``None``: outputs are no scores).
    ``behind`` says of each place where the sides' classes differ how far the observed class is behind, in the
    reference's scores.
    """

    n: int
    size: int
    finite: bool
    peak: float
    max_abs: float
    absolute: float
    squares: float
    product: float
    reference_squares: float
    observed_squares: float
    places: int | None
    behind: tuple[float, ...]

    @classmethod
    def of(cls, reference: np.ndarray, observed: np.ndarray) -> Sums:
        """Of two arrays of one output, ``[N, ...]`` each; raises :class:`ValueError` where the shapes differ."""
        if reference.shape != observed.shape:
            raise ValueError(f"shapes differ: {list(reference.shape)} and {list(observed.shape)}")
        a, b = reference.astype(np.float64), observed.astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            error = np.abs(a - b)
            found = {
                "absolute": float(error.sum()),
                "squares": float(np.sum(error**2)),
                "product": float(np.sum(a * b)),
                "reference_squares": float(np.sum(a * a)),
                "observed_squares": float(np.sum(b * b)),
            }
        places, behind = _apart(reference, observed)
        return cls(
            n=len(a),
            size=error.size,
            finite=bool(np.isfinite(a).all() and np.isfinite(b).all()),
            peak=float(np.abs(a).max(initial=0.0)),
            max_abs=float(error.max(initial=0.0)),
            places=places,
            behind=tuple(behind.tolist()),
            **found,
        )

    @classmethod
    def merged(cls, parts: Sequence[Sums]) -> Sums:
        """Of several blocks, at least one, together. Sums are rounded once, so the blocks' order does not matter."""

        def total(name: str) -> float:
            values = [getattr(part, name) for part in parts]
            return math.fsum(values) if all(map(math.isfinite, values)) else float(np.sum(values))

        places = [part.places for part in parts]
        return cls(
            n=sum(part.n for part in parts),
            size=sum(part.size for part in parts),
            finite=all(part.finite for part in parts),
            peak=float(np.max([part.peak for part in parts])),
            max_abs=float(np.max([part.max_abs for part in parts])),
            absolute=total("absolute"),
            squares=total("squares"),
            product=total("product"),
            reference_squares=total("reference_squares"),
            observed_squares=total("observed_squares"),
            places=None if None in places else sum(count or 0 for count in places),
            behind=tuple(itertools.chain.from_iterable(part.behind for part in parts)),
        )

    def parity(self, *, tie: float = 0.0) -> Parity:
        """The distances; ``tie`` is the share of the peak below which two reference scores count as tied."""
        mean_square = self.squares / self.size if self.size else 0.0
        norms = math.nan
        if self.finite:
            norms = math.sqrt(self.reference_squares) * math.sqrt(self.observed_squares)
        top1 = decided = None
        if self.places:
            margin = tie * self.peak
            top1 = 1 - len(self.behind) / self.places
            decided = 1 - sum(1 for far in self.behind if not far <= margin or not margin) / self.places
        return Parity(
            n=self.n,
            finite=self.finite,
            peak=self.peak,
            max_abs=self.max_abs,
            mean_abs=self.absolute / self.size if self.size else 0.0,
            cosine=_cosine(self.product, norms, mean_square),
            psnr_db=_psnr(self.peak, mean_square),
            top1=top1,
            top1_decided=decided,
        )


def measure(reference: np.ndarray, observed: np.ndarray, *, tie: float = 0.0) -> Parity:
    """Compares two arrays of one output, ``[N, ...]`` each.

    Args:
        reference: what is held to be right, any real dtype.
        observed: the same shape.
        tie: share of the peak below which two reference scores count as tied, for ``top1_decided``.

    Raises:
        ValueError: the shapes differ.
    """
    return Sums.of(reference, observed).parity(tie=tie)


def agreement(reference: np.ndarray, observed: np.ndarray, *, margin: float = 0.0) -> float | None:
    """Share of samples whose largest score is the same class; ``None`` where there are no classes.

    A sample also agrees if the reference scores of its own winner and of the observed one differ by no
    more than ``margin``: 8-bit outputs cannot hold such scores apart.
    """
    places, behind = _apart(reference, observed)
    if not places:
        return None
    return float(1 - (~(behind <= margin) if margin else np.ones(len(behind))).sum() / places)


def _apart(reference: np.ndarray, observed: np.ndarray) -> tuple[int | None, np.ndarray]:
    """How many arg-maxes were compared, and of those that differ how far the observed class is behind."""
    if reference.ndim < 2 or reference.shape[-1] < 2 or not np.issubdtype(reference.dtype, np.floating):
        return None, np.empty(0)
    winner, other = reference.argmax(axis=-1), observed.argmax(axis=-1)
    differ = winner != other
    scores = reference[differ].astype(np.float64)
    best, second = (np.take_along_axis(scores, i[differ][..., None], axis=-1)[..., 0] for i in (winner, other))
    with np.errstate(invalid="ignore"):
        return winner.size, best - second


ROUNDING = 16.0
"""Times the change by the inputs' last bits that floats may differ: every operator rounds as the inputs were rounded
here, and independent errors of 16 ** 2 operators add up to 16 times one."""


def nudged(inputs: Mapping[str, np.ndarray], *, seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs of which every float is moved to a neighbour, up or down at random: what rounding does anyway."""
    rng = np.random.default_rng(seed)
    return {
        name: np.nextafter(v, np.where(rng.random(v.shape) < 0.5, np.inf, -np.inf).astype(v.dtype))
        if v.dtype.kind == "f"
        else v
        for name, v in inputs.items()
    }


def change(left: Mapping[str, np.ndarray], right: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The largest absolute difference of each output; 0 where one is not finite, which is another fault."""
    found = {name: float(np.abs(v.astype(np.float64) - right[name]).max(initial=0)) for name, v in left.items()}
    return {name: value if math.isfinite(value) else 0.0 for name, value in found.items()}


def within(parity: Parity, tolerance: Tolerance, *, judge_top1: bool = True, noise: float = 0.0) -> list[str]:
    """Why ``parity`` is outside ``tolerance``; empty when it is inside. NaN and infinity always fail.

    ``tolerance.max_abs`` is taken relative to the outputs' peak where that is above 1: the error of a
    float addition grows with the numbers added. It is at least :data:`ROUNDING` times ``noise``, the change of this
    output by the last bits of the inputs (:func:`nudged`): no file can answer nearer than the model is determined.
    """
    if not parity.finite:
        return ["NaN or infinite outputs"]
    wrong = []
    allowed = max((tolerance.max_abs or 0.0) * max(1.0, parity.peak), ROUNDING * noise)
    if tolerance.max_abs is not None and parity.max_abs > allowed:
        wrong.append(f"max-abs {parity.max_abs:.3g} > {allowed:.3g}")
    if tolerance.psnr_db is not None and parity.psnr_db < tolerance.psnr_db:
        wrong.append(f"PSNR {parity.psnr_db:.1f} dB < {tolerance.psnr_db:g} dB")
    decided = parity.top1_decided
    # Of fewer than a hundred samples a single one would break 99 %, and one says nothing.
    several = decided is not None and (1 - decided) * parity.n > 1.5
    if tolerance.top1 is not None and judge_top1 and decided is not None and decided < tolerance.top1 and several:
        wrong.append(f"top-1 agreement {decided:.2%} < {tolerance.top1:.0%} (ties not counted)")
    return wrong


def describe(parity: Parity) -> str:
    """One line of numbers."""
    top1 = "" if parity.top1 is None else f", top-1 {parity.top1:.2%}"
    return f"max-abs {parity.max_abs:.2g}, PSNR {parity.psnr_db:.1f} dB{top1} over {parity.n} samples"


def compare(
    reference: Mapping[str, np.ndarray], observed: Mapping[str, np.ndarray], *, tie: float = 0.0
) -> dict[str, Parity]:
    """:func:`measure` for every output of ``reference``.

    Raises:
        ValueError: an output is missing, or the shapes differ.
    """
    return {name: found.parity(tie=tie) for name, found in sums(reference, observed).items()}


def sums(reference: Mapping[str, np.ndarray], observed: Mapping[str, np.ndarray]) -> dict[str, Sums]:
    """:class:`Sums` for every output of ``reference``; raises as :func:`compare`."""
    missing = sorted(set(reference) - set(observed))
    if missing:
        raise ValueError(f"outputs {', '.join(missing)} are missing; there are {', '.join(sorted(observed))}")
    return {name: Sums.of(reference[name], observed[name]) for name in sorted(reference)}


def _psnr(peak: float, mean_square: float) -> float:
    if not math.isfinite(mean_square):
        return -math.inf
    if mean_square == 0:
        return math.inf
    return 10 * math.log10(peak * peak / mean_square) if peak else -math.inf


def _cosine(product: float, norms: float, mean_square: float) -> float:
    if math.isnan(norms):
        return math.nan
    if norms == 0:
        return 1.0 if mean_square == 0 else 0.0
    return product / norms
