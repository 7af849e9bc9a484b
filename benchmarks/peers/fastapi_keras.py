"""What most people write: FastAPI, a JSON array, and `model.predict`. `MODEL` names the Keras file."""

import os

import keras
import numpy as np
from fastapi import FastAPI

_model = keras.saving.load_model(os.environ["MODEL"])
app = FastAPI()


@app.post("/predict")
def predict(body: dict[str, list]) -> dict[str, list]:
    return {"outputs": _model.predict(np.array(body["features"], np.float32), verbose=0).tolist()}
