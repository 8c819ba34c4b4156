"""The vocabulary every stage shares, the training side and the command line."""

__version__ = "0.1.0"
