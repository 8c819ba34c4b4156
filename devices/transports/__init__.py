"""How a job reaches a device and how its result comes back, one file per way."""
