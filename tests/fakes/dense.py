"""The recipes that a network of dense layers allows: all but those that are about convolutions."""

from __future__ import annotations

from converters import recipes

CONVOLUTIONAL = ("dynamic_int8_float_depthwise", "mixed_int4_int8")
NAMES = [name for name in recipes.names() if name not in CONVOLUTIONAL]
