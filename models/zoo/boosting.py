"""Gradient-boosted trees for rows of a table (LightGBM; Ke and others 2017).

No tree is added when the validation side no longer improves. They run as a trainer, in a process of their own; see
ratchet/trainer.py.
"""

from pathlib import Path
from typing import Any

import numpy as np

from ratchet.trainer import TrainingContext, TrainingInputs

_PATIENCE = 30
"""Rounds without improvement."""


def train(data: TrainingInputs, context: TrainingContext) -> Path:
    """Parameters: at most `rounds` trees with `leaves` leaves each and the shrinkage `rate`."""
    import lightgbm
    import onnx
    from onnxmltools.convert import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    rounds = int(context.parameters.get("rounds", 400))
    options = {
        "n_estimators": rounds,
        "num_leaves": int(context.parameters.get("leaves", 31)),
        "learning_rate": float(context.parameters.get("rate", 0.05)),
        "min_child_samples": int(context.parameters.get("min_records", 20)),
        "random_state": context.seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }
    squared = bool(context.parameters.get("squared", 0))
    model: Any = (
        lightgbm.LGBMClassifier(**options)
        if data.classes
        else lightgbm.LGBMRegressor(objective="l2" if squared else "l1", **options)
    )
    train, validation = data.train, data.validation
    callbacks = [lightgbm.early_stopping(_PATIENCE, verbose=False), _logging(context)]
    pair = [(validation.features, _flat(validation.targets))]
    model.fit(train.features, _flat(train.targets), eval_set=pair, callbacks=callbacks)
    initial = [("table", FloatTensorType([None, train.features.shape[1]]))]
    zipmap = {"zipmap": False} if data.classes else {}
    graph = convert_lightgbm(model, "boosting", initial, target_opset=15, **zipmap)
    path = context.folder / "boosting.onnx"
    onnx.save(graph, path)
    own = model.predict_proba if data.classes else model.predict
    context.expect(own(validation.features).reshape(len(validation.targets), -1))
    return path


def _flat(targets: np.ndarray) -> np.ndarray:
    return targets.reshape(len(targets))


def _logging(context: TrainingContext) -> Any:
    def log(env: Any) -> None:
        if (env.iteration + 1) % 20 == 0:
            context.log(env.iteration + 1, {f"val_{name}": value for _, name, value, _ in env.evaluation_result_list})

    return log
