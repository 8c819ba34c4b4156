"""Stand-ins at the protocols: a device, a runner program."""
