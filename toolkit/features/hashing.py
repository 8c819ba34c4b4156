"""The hash of texts, integers and over-large crosses: constants and the numpy form. The graph's form is in lowering.

A polynomial over 32-bit words, sum of w[i] * MULTIPLIER ** i modulo 2**32, so that zero padding adds nothing; then
the finaliser of MurmurHash3 (fmix32, Austin Appleby, public domain), so that every bit counts in the modulo. The
result is taken as a signed number and brought into range by a floored modulo, as FLOOR_MOD does.
"""

from __future__ import annotations

import numpy as np

from toolkit.errors import BrokenInput

MULTIPLIER = 0x9E3779B1
"""Odd, so that no word is lost: the prime nearest 2**32 / golden ratio (Knuth; also xxHash's PRIME32_1)."""

MIX = ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, None))
"""fmix32: xor with itself shifted right by the first, then multiply by the second."""

_TRIES = 1000


def powers(count: int, multiplier: int = MULTIPLIER, *, width: int | None = None) -> np.ndarray:
    """``multiplier ** i`` modulo 2**32 as int32 ``[width]``, zero from ``count`` on."""
    found = [pow(multiplier, i, 2**32) if i < count else 0 for i in range(width or count)]
    return np.array(found, dtype=np.uint32).view(np.int32)


def polynomial(words: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sum over the last axis of ``words * weights`` modulo 2**32: int32 ``[N]`` from integers ``[N, L]``."""
    product = words.astype(np.int32).view(np.uint32) * weights.view(np.uint32)
    return product.sum(axis=-1, dtype=np.uint32).view(np.int32)


def mix(values: np.ndarray) -> np.ndarray:
    """fmix32 of int32 ``[N]``, as int32."""
    h = np.ascontiguousarray(values).view(np.uint32)
    for shift, factor in MIX:
        h = h ^ (h >> np.uint32(shift))
        if factor is not None:
            h = h * np.uint32(factor)
    return h.view(np.int32)


def bucket(values: np.ndarray, size: int) -> np.ndarray:
    """The mixed value, floor-modulo ``size``: int32 ``[N]`` from 0 up to, but not, ``size``."""
    return np.mod(mix(values), np.int32(size))


def padded(words: list[bytes], width: int) -> np.ndarray:
    """Texts as zero-padded bytes, uint8 ``[len(words), width]``; what is longer is cut."""
    return np.array(words, dtype=f"S{width}").reshape(-1).view(np.uint8).reshape(len(words), width)


def distinct_keys(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A 32-bit key for each of the distinct rows of uint8 ``[V, L]`` that no two of them share.

    Returns:
        The keys int32 ``[V]`` and the weights int32 ``[L]`` that make them.
    """
    for i in range(_TRIES):
        weights = powers(table.shape[1], MULTIPLIER + 2 * i)
        keys = polynomial(table, weights)
        if len(np.unique(keys)) == len(keys):
            return keys, weights
    raise BrokenInput(f"no key tells {len(table)} words apart", remedy="use hash_bucket")
