"""FastAPI, pydantic and ONNX Runtime: what one writes by hand. Arguments: model, port."""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from serving_models import fitted
from skl2onnx import to_onnx

estimator, table, _ = fitted(sys.argv[1])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
graph = to_onnx(estimator, table[:1].astype(np.float32), options={"zipmap": False}).SerializeToString()
session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
app = FastAPI()


class Tensor(BaseModel):
    """One input."""

    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class Request(BaseModel):
    """A request of the Open Inference Protocol."""

    inputs: list[Tensor]


@app.get("/health")
async def health() -> dict[str, bool]:
    """Whether it answers."""
    return {"ready": True}


@app.post("/predict")
async def predict(request: Request) -> dict[str, list[float]]:
    """Probabilities of the second class."""
    tensor = request.inputs[0]
    answers = session.run(None, {"X": np.array(tensor.data, dtype=np.float32).reshape(tensor.shape)})
    return {"probability": answers[1][:, 1].tolist()}


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[2]), log_level="warning", access_log=False)
