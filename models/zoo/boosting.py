"""Gradient-boosted trees for rows of a table (LightGBM; Ke and others 2017).

No tree is added when the validation side no longer improves. They run as a trainer, in a process of their own; see
ratchet/trainer.py.
"""

from pathlib import Path
from typing import Any

import numpy as np

from ratchet.trainer import TrainingContext, TrainingInputs

_PREFIX = {"training": "", "valid_1": "val_"}
"""Of a metric, by LightGBM's name of the side."""
_DEFAULTS = {"rounds": 400, "leaves": 31, "rate": 0.05, "min_records": 20}
_OBJECTIVES = {"MeanSquaredError": "l2", "MeanAbsoluteError": "l1"}
_PATIENCE = 30
"""Rounds without improvement."""


def train(data: TrainingInputs, context: TrainingContext) -> Path:
    """Parameters: at most `rounds` trees with `leaves` leaves of `min_records` each, and the shrinkage `rate`."""
    import lightgbm
    import onnx
    from onnxmltools.convert import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    if unknown := set(context.parameters) - set(_DEFAULTS):
        raise ValueError(f"boosting has no parameter {', '.join(sorted(unknown))}; it has {', '.join(_DEFAULTS)}")
    given = {**_DEFAULTS, **context.parameters}
    options = {
        "n_estimators": int(given["rounds"]),
        "num_leaves": int(given["leaves"]),
        "learning_rate": given["rate"],
        "min_child_samples": int(given["min_records"]),
        "random_state": context.seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }
    model: Any = (
        lightgbm.LGBMClassifier(**options)
        if data.classes
        else lightgbm.LGBMRegressor(objective=_OBJECTIVES[data.loss], **options)
    )
    train, validation = data.train, data.validation
    callbacks = [lightgbm.early_stopping(_PATIENCE, verbose=False), _logging(context)]
    pairs = [(side.features, _flat(side.targets)) for side in (train, validation)]
    weights: dict[str, Any] = {}
    if train.sample_weights is not None:
        both = [train.sample_weights, validation.sample_weights]
        weights = {"sample_weight": both[0], "eval_sample_weight": both}
    model.fit(*pairs[0], eval_set=pairs, callbacks=callbacks, **weights)
    initial = [("table", FloatTensorType([None, train.features.shape[1]]))]
    zipmap = {"zipmap": False} if data.classes else {}
    graph = convert_lightgbm(_in_single_precision(model), "boosting", initial, target_opset=15, **zipmap)
    path = context.folder / "boosting.onnx"
    onnx.save(graph, path)
    own = model.predict_proba if data.classes else model.predict
    context.expect(own(validation.features).reshape(len(validation.targets), -1))
    return path


def _in_single_precision(model: Any) -> Any:
    """The model with each threshold as the next lower float32: float32 features take the same way at every split.

    ONNX's trees have float32 thresholds, and the nearest one may be on the other side of a feature.
    """
    import lightgbm

    def lower(line: str) -> str:
        thresholds = np.array(line.removeprefix("threshold=").split(), float)
        single = thresholds.astype(np.float32)
        single = np.where(single > thresholds, np.nextafter(single, np.float32(-np.inf)), single)
        return "threshold=" + " ".join(repr(float(value)) for value in single)

    lines = model.booster_.model_to_string().split("\n")
    lines = [line for line in lines if not line.startswith("tree_sizes=")]  # in bytes, which change
    text = "\n".join(lower(line) if line.startswith("threshold=") else line for line in lines)
    model._Booster = lightgbm.Booster(model_str=text)
    return model


def _flat(targets: np.ndarray) -> np.ndarray:
    return targets.reshape(len(targets))


def _logging(context: TrainingContext) -> Any:
    def log(env: Any) -> None:
        if (env.iteration + 1) % 20 == 0:
            values = {f"{_PREFIX[side]}{name}": value for side, name, value, _ in env.evaluation_result_list}
            context.log(env.iteration + 1, values)

    return log
