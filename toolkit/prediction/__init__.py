"""Rows in, answers out, the same for every model and every target. See docs/predicting.md.

    contract = Contract(inputs=signature.inputs, spec=spec, classes=classes)
    for rows in open_rows("rides.csv", contract, tally):
        answered = interpret(rows.numbers, device.answer(path, rows.tensors))

Importing this imports numpy, not TensorFlow.
"""

from toolkit.prediction.contract import Contract
from toolkit.prediction.meaning import Interpreter
from toolkit.prediction.rows import open_rows
from toolkit.prediction.tally import Numbered

__all__ = ["Contract", "Interpreter", "Numbered", "open_rows"]
