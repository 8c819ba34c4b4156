"""Units that are not needed taken out of the network, then 4-bit weights in dense layers."""

from __future__ import annotations

import dataclasses

from converters.recipes import dynamic_int4
from converters.steps import Compact, Step

RECIPE = dataclasses.replace(
    dynamic_int4.RECIPE,
    name="compacted_int4",
    summary="as compacted, then dynamic_int4: the smallest of all for dense networks",
    needs=(*dynamic_int4.RECIPE.needs, "fine-tuning"),
)

STEPS: tuple[Step, ...] = (Compact(),)

configure = dynamic_int4.configure
expect = dynamic_int4.expect
finish = dynamic_int4.finish
refuse = dynamic_int4.refuse
KINDS = dynamic_int4.KINDS
