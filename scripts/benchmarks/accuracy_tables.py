"""Our models of tables against scikit-learn's on the same rows: house prices, taxi fares, census income.

python scripts/benchmarks/accuracy_tables.py [--seeds 3] [DATA ...]

Both sides learn from the training split's rows and are judged on the evaluation split's; scikit-learn gets the raw
columns that our spec reads (texts one-hot for the linear models, as categories for boosting). Ours: the family's
defaults, one model per seed. A difference counts where the 95 % interval of the paired bootstrap over evaluation rows,
of our first seed against theirs, is on one side of zero. Needs scikit-learn: pip install scikit-learn==1.9.1
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import toolkit.datasets
import toolkit.models
from toolkit.datasets._chosen import Chosen
from toolkit.datasets._dataset import Dataset
from toolkit.progress import Progress
from toolkit.training import fit, tasks
from toolkit.training.options import TrainingOptions

FAMILIES = {"sacramento": "dnn", "chicago": "wide-deep", "adult": "wide-deep"}
RESAMPLES = 2000


def columns(raw: Dataset, names: list[str]) -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    """Numbers ``[N, D]`` with NaN, texts ``[N, T]``, and the names of both."""
    texts = [n for n in names if raw.inputs[n].dtype == object]
    numbers = [n for n in names if n not in texts]
    table = np.stack([raw.inputs[n].astype(np.float64) for n in numbers], axis=1)
    words = np.stack([raw.inputs[n].astype(str) for n in texts], axis=1) if texts else np.empty((len(table), 0), str)
    return table, words, numbers, texts


def theirs(raw: Dataset, names: list[str], classifies: bool) -> dict[str, np.ndarray]:
    """Every scikit-learn model's answers on the evaluation rows: values, or probabilities of class 1."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

    numbers, words, _, texts = columns(raw, names)
    both = np.concatenate([numbers.astype(object), words.astype(object)], axis=1)
    first, last = list(range(numbers.shape[1])), list(range(numbers.shape[1], both.shape[1]))
    linear = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), first),
        (OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=5), last),
    )
    # Boosting takes at most 255 categories; what is rarer than that is one of its own.
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, max_categories=250)
    trees = make_column_transformer(("passthrough", first), (ordinal, last))
    categories = [len(first) + i for i in range(len(texts))]
    boosting = (HistGradientBoostingClassifier if classifies else HistGradientBoostingRegressor)(
        categorical_features=categories, random_state=0
    )
    models = {
        "linear": make_pipeline(linear, LogisticRegression(max_iter=2000) if classifies else Ridge()),
        "boosting": make_pipeline(trees, boosting),
    }
    learn, judge = raw.train_rows, raw.evaluation_rows
    found = {}
    for name, model in models.items():
        model.fit(both[learn], raw.labels[learn])
        found[name] = model.predict_proba(both[judge])[:, 1] if classifies else model.predict(both[judge])
    return found


def ours(dataset: Dataset, family: str, seeds: int) -> list[np.ndarray]:
    """Our model's answers on the evaluation rows, one per seed."""
    from converters import keras_models

    module = toolkit.models.load(family)
    usual = toolkit.models.variant(family, module.DEFAULT_VARIANT)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "model.keras")
        for seed in range(seeds):
            options = TrainingOptions(
                variant=module.DEFAULT_VARIANT, epochs=usual.epochs, batch_size=usual.batch_size, seed=seed
            )
            fit.train(family, dataset, options, out=out, logs=Path(folder, "logs"), progress=Progress(quiet=True))
            answers = tasks.answers(keras_models.load(out, 2), dataset.evaluation().inputs).astype(np.float64)
            found.append(answers[:, -1])
    return found


def losses(answers: np.ndarray, labels: np.ndarray, classifies: bool) -> dict[str, np.ndarray]:
    """A loss for each row, by metric; the metric is their mean (of rmse, its root)."""
    if not classifies:
        return {"rmse": (answers - labels) ** 2, "mae": np.abs(answers - labels)}
    given = np.clip(np.where(labels == 1, answers, 1 - answers), 1e-7, 1)
    return {"errors %": 100.0 * ((answers > 0.5) != (labels == 1)), "log loss": -np.log(given)}


def metric(name: str, rows: np.ndarray) -> float:
    """A metric of its rows' losses."""
    return float(np.sqrt(rows.mean()) if name == "rmse" else rows.mean())


def verdict(name: str, mine: np.ndarray, other: np.ndarray) -> str:
    """Whether we are better, worse, or cannot be told apart, by the paired bootstrap."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(mine), (RESAMPLES, len(mine)))
    differences = [metric(name, mine[r]) - metric(name, other[r]) for r in rows]
    low, high = np.percentile(differences, [2.5, 97.5])
    return "we win" if high < 0 else "we lose" if low > 0 else "cannot be told apart"


def main() -> int:
    """Prints a table per data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", metavar="DATA", help="sacramento, chicago, adult; all by default")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    try:
        import sklearn
    except ImportError:
        print("scikit-learn is not installed: pip install scikit-learn==1.9.1", file=sys.stderr)
        return 3
    print(f"scikit-learn {sklearn.__version__}; lower is better everywhere")
    for name in given.data or FAMILIES:
        raw = toolkit.datasets.load(name, progress=Progress(quiet=True))
        dataset = Chosen(name=name).open(Progress(quiet=True))
        assert dataset.spec is not None
        classifies = dataset.spec.task == "classification"
        read = list(dict.fromkeys(c.source for c in dataset.spec.columns if c.kind != "crossed"))
        labels = raw.labels[raw.evaluation_rows].astype(np.float64)
        mine = [losses(a, labels, classifies) for a in ours(dataset, FAMILIES[name], given.seeds)]
        others: dict[str, Any] = {k: losses(a, labels, classifies) for k, a in theirs(raw, read, classifies).items()}
        print(f"\n{name}: {len(raw.train_rows):,} rows to learn from, {len(labels):,} to be judged by")
        for kind in mine[0]:
            values = [metric(kind, m[kind]) for m in mine]
            spread = f"({min(values):.5g} to {max(values):.5g})"
            print(f"  {kind:<9} ours {FAMILIES[name]:<10} {np.mean(values):12.5g}  {spread}")
            for other, rows in others.items():
                said = verdict(kind, mine[0][kind], rows[kind])
                print(f"  {'':<9} sklearn {other:<8} {metric(kind, rows[kind]):11.5g}  {said}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
