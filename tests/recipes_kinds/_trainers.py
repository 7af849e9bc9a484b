"""Trainers of a team's own, which end in an ONNX file each: scikit-learn's, LightGBM's and PyTorch's."""

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

from ratchet.trainer import TrainingContext, TrainingInputs


def ridge(data: TrainingInputs, context: TrainingContext) -> Path:
    """A linear model of scikit-learn's; it notes what it answers for some rows, for a test to compare."""
    from skl2onnx import to_onnx
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=1.0).fit(data.train.features, data.train.targets)
    outputs = model.predict(data.validation.features).reshape(-1, 1)
    context.expect(outputs)
    rows = [[float(value) for value in row] for row in data.validation.inputs[:5].tolist()]
    notes = Path(os.environ["RATCHET_HOME"]) / "ridge.json"
    notes.write_text(json.dumps({"rows": rows, "outputs": outputs[:5, 0].tolist()}))
    return saved(to_onnx(model, data.train.features[:1]), context)


def forest(data: TrainingInputs, context: TrainingContext) -> Path:
    """Scikit-learn's random forest, for classes."""
    from skl2onnx import to_onnx
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(20, random_state=context.seed).fit(data.train.features, data.train.targets)
    context.expect(model.predict_proba(data.validation.features))
    return saved(to_onnx(model, data.train.features[:1], options={"zipmap": False}), context)


def trees(data: TrainingInputs, context: TrainingContext) -> Path:
    """LightGBM's, for classes, with onnxmltools."""
    from lightgbm import LGBMClassifier
    from onnxmltools.convert import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    model = LGBMClassifier(n_estimators=20, verbose=-1, n_jobs=1, deterministic=True, force_row_wise=True).fit(
        data.train.features, data.train.targets
    )
    context.expect(model.predict_proba(data.validation.features))
    inputs = [("x", FloatTensorType([None, data.train.features.shape[1]]))]
    return saved(convert_lightgbm(model, "trees", inputs, target_opset=15, zipmap=False), context)


def torch(data: TrainingInputs, context: TrainingContext) -> Path:
    """A small network of PyTorch's, for classes."""
    import torch as t

    t.manual_seed(context.seed)
    x, y = t.tensor(data.train.features), t.tensor(data.train.targets, dtype=t.int64)
    model = t.nn.Sequential(t.nn.Linear(x.shape[1], 16), t.nn.ReLU(), t.nn.Linear(16, len(data.classes)))
    optimizer = t.optim.Adam(model.parameters(), 0.01)
    for epoch in range(context.epochs):
        optimizer.zero_grad()
        loss = t.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        context.log(epoch + 1, {"loss": loss.item()})
    whole = t.nn.Sequential(model, t.nn.Softmax(dim=1)).eval()
    context.expect(whole(t.tensor(data.validation.features)).detach().numpy())
    path = context.folder / "torch.onnx"
    axes = {"x": {0: "n"}, "y": {0: "n"}}
    t.onnx.export(whole, (x[:2],), str(path), input_names=["x"], output_names=["y"], dynamic_axes=axes, dynamo=False)
    return path


def saved(graph: Any, context: TrainingContext) -> Path:
    path = context.folder / "model.onnx"
    path.write_bytes(graph.SerializeToString())
    return path


def failing(data: TrainingInputs, context: TrainingContext) -> Path:
    print("what a trainer prints is no message")
    raise ValueError("the data are not to my taste")


def lying(data: TrainingInputs, context: TrainingContext) -> Path:
    path = forest(data, context)
    context.expect(np.full((len(data.validation.targets), len(data.classes)), 1 / len(data.classes)))
    return path


def silent(data: TrainingInputs, context: TrainingContext) -> Path:
    """It says nothing of what its file must answer, and prints without an end of line."""
    os.remove(forest(data, context).with_name("outputs.npy"))
    print('{"metrics": "none"}', end="")
    return context.folder / "model.onnx"


def sleeping(data: TrainingInputs, context: TrainingContext) -> Path:
    child = subprocess.Popen(["sleep", "60"])
    (context.folder / "pids").write_text(f"{os.getpid()} {child.pid}")
    time.sleep(60)
    return context.folder


def nowhere(data: TrainingInputs, context: TrainingContext) -> Path:
    return context.folder / "nothing.onnx"
