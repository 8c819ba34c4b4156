"""iPhones and iPads: a bundle that a Mac builds and runs, and the results that come back from it."""

DELEGATES = ("cpu", "metal", "coreml")
"""``cpu`` is XNNPACK."""

DELEGATE_NAMES = {"cpu": "xnnpack", "metal": "metal", "coreml": "coreml"}
ACCELERATORS = {"cpu": None, "metal": "gpu", "coreml": "neural-engine"}

PLATFORM = "ios-arm64"
RUNTIME = "tensorflow-lite-c"
