"""Runners as a device behind a transport takes them: see :class:`devices.remote.Program`. They run here, not there."""
