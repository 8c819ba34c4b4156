"""Units that are not needed taken out of the network, in floats."""

from __future__ import annotations

import dataclasses

from converters.recipes import float32
from converters.steps import Compact, Step

RECIPE = dataclasses.replace(
    float32.RECIPE,
    name="compacted",
    summary="the narrowest network within the accuracy budget, units taken out for real: smaller and faster",
    needs=(*float32.RECIPE.needs, "fine-tuning"),
)

STEPS: tuple[Step, ...] = (Compact(),)

configure = float32.configure
expect = float32.expect
