"""Units that are not needed taken out of the network, then 8-bit weights."""

from __future__ import annotations

import dataclasses

from converters.recipes import dynamic_range
from converters.steps import Compact, Step

RECIPE = dataclasses.replace(
    dynamic_range.RECIPE,
    name="compacted_dynamic_range",
    summary="as compacted, then dynamic_range",
    needs=(*dynamic_range.RECIPE.needs, "fine-tuning"),
)

STEPS: tuple[Step, ...] = (Compact(),)

configure = dynamic_range.configure
expect = dynamic_range.expect
