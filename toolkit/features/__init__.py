"""Feature columns that are the same in training, in the exported file and in numpy. See docs/features.md.

A :class:`FeatureSpec` says what a model is built from; :func:`adapt` learns what it leaves out; :func:`encode` makes
tensors of raw rows, and :func:`transform` the features, in numpy. :mod:`toolkit.features.layer` builds the graph.
Importing this imports no TensorFlow.
"""

from toolkit.features.adapt import adapt
from toolkit.features.columns import Column, IdColumn
from toolkit.features.encoding import encode
from toolkit.features.kinds import Bucketized, Crossed, HashBucket, Identity, Numeric, Vocabulary
from toolkit.features.reading import dumps, load, loads, read_vocabulary
from toolkit.features.reference import Features, transform
from toolkit.features.spec import FeatureSpec

__all__ = [
    "Bucketized",
    "Column",
    "Crossed",
    "FeatureSpec",
    "Features",
    "HashBucket",
    "IdColumn",
    "Identity",
    "Numeric",
    "Vocabulary",
    "adapt",
    "dumps",
    "encode",
    "load",
    "loads",
    "read_vocabulary",
    "transform",
]
