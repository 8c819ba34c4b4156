"""Devices without hardware, for tests and newcomers: ``scripts/emulate up``. They say of themselves what they are."""
