"""A linear model of scikit-learn, fitted in seconds: what simple means reach on a recipe's data."""

from __future__ import annotations

from typing import Any

import numpy as np

from ratchet.lake.snapshot import Examples
from ratchet.recipe import Recipe

_MOST = 5000
"""Examples that it is fitted on."""
_WIDTH = 4096
"""Numbers of an input, about, that it reads."""


def fit_and_predict(recipe: Recipe, trained: Examples, inputs: np.ndarray) -> np.ndarray:
    """Outputs [N, width] for the inputs [N, ...], from a model fitted on a sample of the examples.

    Categories and tokens count by how often they stand in an input, and anything else as numbers.
    """
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MaxAbsScaler

    sample = np.random.default_rng(0).permutation(len(trained))[:_MOST]
    chosen, targets = trained.inputs[sample], trained.targets[sample]
    if recipe.answers.classes and len(np.unique(targets)) == 1:
        return np.tile(np.eye(recipe.answers.width)[targets[0]], (len(inputs), 1))
    vocabulary = recipe.contract.learn_vocabulary(chosen)
    columns = _columns(recipe.contract.features(np.concatenate([chosen, inputs]), vocabulary), recipe)
    known, unknown = columns[: len(chosen)], columns[len(chosen) :]
    if recipe.answers.classes:
        classifier = make_pipeline(MaxAbsScaler(), LogisticRegression(max_iter=300))
        classifier.fit(known, targets)
        outputs = np.zeros((len(inputs), recipe.answers.width))
        outputs[:, classifier.classes_] = classifier.predict_proba(unknown)
        return outputs
    regression = make_pipeline(MaxAbsScaler(), Ridge())
    regression.fit(known, targets)
    return np.asarray(regression.predict(unknown)).reshape(len(inputs), -1)


def _columns(features: np.ndarray, recipe: Recipe) -> Any:
    """A sparse matrix [N, any]: a column for each token or category, and the numbers."""
    from scipy import sparse

    if np.issubdtype(features.dtype, np.integer):
        return _counts(features)
    categories = list(recipe.contract.categories())
    flat = features.reshape(len(features), -1)
    if not categories:  # of a large picture, some of the pixels say enough
        flat = flat[:, :: max(1, flat.shape[1] // _WIDTH)]
    numbers = sparse.csr_matrix(np.delete(flat, categories, axis=1))
    places = [_counts(flat[:, [column]].astype(int)) for column in categories]
    return sparse.hstack([numbers, *places], format="csr")


def _counts(ids: np.ndarray) -> Any:
    """How often each id stands in each row of [N, M], as a sparse matrix [N, ids]."""
    from scipy import sparse

    rows = np.repeat(np.arange(len(ids)), ids.shape[1])
    return sparse.csr_matrix((np.ones(ids.size), (rows, ids.ravel())))
