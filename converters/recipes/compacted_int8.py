"""Units that are not needed taken out of the network, then int8."""

from __future__ import annotations

import dataclasses

from converters.recipes import int8
from converters.steps import Compact, Step

RECIPE = dataclasses.replace(
    int8.RECIPE,
    name="compacted_int8",
    summary="as compacted, then int8: the fastest of all on a CPU",
    needs=(*int8.RECIPE.needs, "fine-tuning"),
)

STEPS: tuple[Step, ...] = (Compact(),)

configure = int8.configure
expect = int8.expect
refuse = int8.refuse
ONE_SCALE = int8.ONE_SCALE
