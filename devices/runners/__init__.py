"""The programs that run on a device: they read ``plan.json`` and leave ``result.json`` beside it."""
