"""The exported model as MLflow serves it, with only LiteRT and NumPy. MLflow stores this file with the model."""

import json
import threading
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from ai_edge_litert.interpreter import Interpreter


class Served(mlflow.pyfunc.PythonModel):
    """Predicts labels and calibrated probabilities of uint8 RGB photos (n, size, size, 3)."""

    def load_context(self, context: mlflow.pyfunc.PythonModelContext) -> None:
        folder = Path(context.artifacts["tflite"])
        self.classes = (folder / "labels.txt").read_text(encoding="utf-8").splitlines()
        self.rule = json.loads((folder / "decision.json").read_text(encoding="utf-8"))
        self.network = Interpreter(str(folder / "float32.tflite"), num_threads=1)
        self.network.allocate_tensors()
        self.lock = threading.Lock()  # MLflow answers each request in a thread of its own

    def probabilities(self, photo: np.ndarray) -> np.ndarray:
        """The probability of each class, for one photo."""
        with self.lock:
            self.network.set_tensor(self.network.get_input_details()[0]["index"], photo[None])
            self.network.invoke()
            return self.network.get_tensor(self.network.get_output_details()[0]["index"])[0]

    def label(self, probabilities: np.ndarray) -> str:
        """The label, by the rule of `facemask.evaluation.decision.decide`."""
        ranked = [self.classes[index] for index in np.argsort(-probabilities, kind="stable")]
        label, threshold = self.rule["label"], self.rule["threshold"]
        if threshold is None:
            return ranked[0]
        if probabilities[self.classes.index(label)] >= threshold:
            return label
        return next(other for other in ranked if other != label)

    def predict(
        self, context: mlflow.pyfunc.PythonModelContext, model_input: np.ndarray, params: dict | None = None
    ) -> pd.DataFrame:
        rows = [self.probabilities(photo) for photo in model_input]
        table = pd.DataFrame(rows, columns=[f"p_{name}" for name in self.classes])
        table.insert(0, "label", [self.label(row) for row in rows])
        return table


mlflow.models.set_model(Served())
