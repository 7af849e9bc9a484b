"""What a person would write: loads Fashion-MNIST, trains the same network, evaluates, and exports to ONNX.

`IMAGES`, `LABELS`, `TEST_IMAGES` and `TEST_LABELS` name the files, `RECORDS` and `BATCH_SIZE` are numbers. It prints
the seconds inside `fit`.
"""

import gzip
import os
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf
import tf2onnx


def images(variable: str) -> np.ndarray:
    with gzip.open(os.environ[variable]) as file:
        return np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28, 1).astype(np.float32)


def labels(variable: str) -> np.ndarray:
    with gzip.open(os.environ[variable]) as file:
        return np.frombuffer(file.read(), np.uint8, offset=8)


count = int(os.environ["RECORDS"])
x, y = images("IMAGES")[:count], labels("LABELS")[:count]
order = np.random.default_rng(0).permutation(len(x))
train, validation = order[: int(0.9 * len(x))], order[int(0.9 * len(x)) : int(0.95 * len(x))]
model = keras.Sequential(
    [
        keras.Input((28, 28, 1)),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(32, (3, 3), activation="relu"),
        keras.layers.MaxPooling2D((2, 2)),
        keras.layers.Conv2D(64, (3, 3), activation="relu"),
        keras.layers.MaxPooling2D((2, 2)),
        keras.layers.Conv2D(64, (3, 3), activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], steps_per_execution=16)
started = time.monotonic()
held_out = x[validation], y[validation]
model.fit(x[train], y[train], int(os.environ["BATCH_SIZE"]), 5, verbose=0, validation_data=held_out)
seconds = time.monotonic() - started
model.evaluate(images("TEST_IMAGES"), labels("TEST_LABELS"), verbose=0)
signature = [tf.TensorSpec((None, 28, 28, 1), tf.float32)]
with tempfile.TemporaryDirectory() as folder:
    tf2onnx.convert.from_function(
        tf.function(lambda batch: model(batch)), signature, output_path=os.path.join(folder, "model.onnx")
    )
print(seconds)
