"""How many weights are exactly zero, layer by layer, and what that is worth on a device."""

from __future__ import annotations

import gzip
from typing import Any

import numpy as np


def of(model: Any) -> list[dict[str, Any]]:
    """One record for every weight matrix of a model, in its order.

    ``zeros`` is the share of exact zeros, ``dead_inputs`` and ``dead_units`` are the rows and columns that are all
    zero, which compaction can take out of the network (of a table: ids that add nothing, and places in vectors);
    ``gzip_bytes`` is what the matrix takes in a download, ``bytes`` what it takes in the file. Unstructured zeros make
    no runtime faster: XNNPACK multiplies by them.
    """
    found = []
    for variable in model.trainable_weights:
        values = variable.numpy()
        if values.ndim < 2:
            continue
        flat = values.reshape(-1, values.shape[-1])
        used = flat != 0
        found.append(
            {
                "name": variable.name.partition(":")[0],
                "shape": list(values.shape),
                "zeros": round(1 - float(used.mean()), 6),
                "dead_inputs": int((~used.any(axis=1)).sum()),
                "dead_units": int((~used.any(axis=0)).sum()),
                "bytes": int(values.nbytes),
                "gzip_bytes": len(gzip.compress(np.ascontiguousarray(values).tobytes(), compresslevel=9, mtime=0)),
            }
        )
    return found
