"""A head, trained with NumPy on features that do not change.

In float64 and rounded to float32 at the end: other processors add in another order, and get the same weights all the
same. Without TensorFlow it takes seconds.
"""

import numpy as np
import pandas as pd
from pydantic import model_validator

from facemask.core.params import Count, Extent, Section
from facemask.core.terminal import counted
from facemask.networks.training import COLUMNS, PLATEAU, Photos, Report, Training, class_weights

ROWS = 4096  # evaluated at once


class Head(Section):
    """The dense layers before the logits, and the dropout after each."""

    units: list[Count]
    dropout: list[Extent]

    @model_validator(mode="after")
    def paired(self) -> "Head":
        if len(self.units) != len(self.dropout):
            raise ValueError("units and dropout must have the same length: one rate per layer")
        return self


class Adam:
    """Adam (D. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015), as in Keras."""

    def __init__(self, arrays: list[np.ndarray]):
        self.arrays, self.steps = arrays, 0
        self.means, self.squares = ([np.zeros_like(array) for array in arrays] for _ in range(2))

    def step(self, gradients: list[np.ndarray], lr: float) -> None:
        """Change the arrays, in place."""
        self.steps += 1
        rate = lr * np.sqrt(1 - 0.999**self.steps) / (1 - 0.9**self.steps)
        for array, gradient, mean, square in zip(self.arrays, gradients, self.means, self.squares, strict=True):
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (gradient**2 - square)
            array -= rate * mean / (np.sqrt(square) + 1e-7)


class DenseHead:
    """Dense layers with ReLU and dropout, then logits and a softmax.

    Attributes
    ----------
    layers : list of (weights, bias)
        (inputs, outputs) and (outputs,), initialised as in Keras: Glorot's uniform distribution, and 0.
    """

    def __init__(self, head: Head, features: int, classes: int, seed: int):
        self.dropout = head.dropout
        self.rng = np.random.default_rng(seed)
        self.layers: list[tuple[np.ndarray, ...]] = []
        for inputs, outputs in zip([features, *head.units], [*head.units, classes], strict=True):
            limit = np.sqrt(6 / (inputs + outputs))
            self.layers.append((self.rng.uniform(-limit, limit, (inputs, outputs)), np.zeros(outputs)))

    def forward(self, rows: np.ndarray, training: bool = False) -> tuple[list[np.ndarray], np.ndarray]:
        """The input of every layer, and the probabilities, for rows (n, features); dropout only in training."""
        inputs = [rows.astype(np.float64)]
        for (weights, bias), rate in zip(self.layers[:-1], self.dropout, strict=True):
            outputs = np.maximum(inputs[-1] @ weights + bias, 0)
            if training:
                outputs *= (self.rng.random(outputs.shape) >= rate) / (1 - rate)
            inputs.append(outputs)
        weights, bias = self.layers[-1]
        logits = inputs[-1] @ weights + bias
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return inputs, powers / powers.sum(axis=1, keepdims=True)

    def gradients(self, inputs: list[np.ndarray], errors: np.ndarray) -> list[np.ndarray]:
        """Backpropagation: the gradient of each layer's weights and bias, from that of the logits (n, classes)."""
        found: list[np.ndarray] = []
        for below, (weights, _), rate in zip(inputs[::-1], self.layers[::-1], [*self.dropout[::-1], 0], strict=True):
            found = [below.T @ errors, errors.sum(axis=0), *found]
            errors = (errors @ weights.T) * (below > 0) / (1 - rate)
        return found

    def epoch(self, photos: Photos, weights: np.ndarray, size: int, rates: np.ndarray, adam: Adam) -> np.ndarray:
        """Train on every row once, in random order, with a learning rate a step; return mean loss and accuracy."""
        inputs, labels = photos
        order, sums = self.rng.permutation(len(labels)), np.zeros(2)
        for start, rate in zip(range(0, len(order), size), rates, strict=True):
            rows = order[start : start + size]
            kept, probabilities = self.forward(inputs[rows], training=True)
            sums += scores(probabilities, labels[rows], weights[rows])
            errors = probabilities
            errors[np.arange(len(rows)), labels[rows]] -= 1
            adam.step(self.gradients(kept, errors * (weights[rows, None] / len(rows))), rate)
        return sums / weights.sum(dtype=np.float64)

    @property
    def weights(self) -> list[np.ndarray]:
        """Weights and bias of each layer, in turn."""
        return [array for layer in self.layers for array in layer]

    def divide_logits(self, temperature: float) -> None:
        """Temperature scaling, in the last layer."""
        self.layers[-1] = tuple((array / temperature).astype(np.float32) for array in self.layers[-1])

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Probabilities (n, classes), float64, for features (n, features)."""
        starts = range(0, len(inputs), ROWS)
        return np.concatenate([self.forward(inputs[start : start + ROWS])[1] for start in starts])

    def fit(self, train: Photos, validation: Photos, training: Training, report: Report | None = None) -> pd.DataFrame:
        """Train in place, with early stopping, and restore the weights of the best epoch, rounded to float32.

        Returns
        -------
        DataFrame
            A row an epoch, with `COLUMNS`.
        """
        of_train, of_validation = (class_weights(labels, training.class_weights) for _, labels in (train, validation))
        steps = -(-len(train[1]) // training.batch_size)
        rates = np.full(training.epochs * steps + 1, training.lr)
        if training.lr_schedule == "cosine":
            rates *= (1 + np.cos(np.linspace(0, np.pi, len(rates)))) / 2
        adam = Adam(self.weights)
        best, best_loss, history, waited = self.layers, np.inf, [], 0
        for epoch in counted(range(training.epochs), "training", training.epochs, "epochs"):
            start, end = epoch * steps, (epoch + 1) * steps
            loss, accuracy = self.epoch(train, of_train, training.batch_size, rates[start:end], adam)
            held_out = scores(self.predict(validation[0]), validation[1], of_validation)
            val_loss, val_accuracy = held_out / of_validation.sum(dtype=np.float64)
            waited += 1
            if val_loss < best_loss:
                best, best_loss, waited = [tuple(map(np.copy, layer)) for layer in self.layers], val_loss, 0
            elif training.lr_schedule == "plateau" and waited % training.plateau_patience == 0:
                rates[end:] *= PLATEAU
            history.append((epoch + 1, loss, accuracy, val_loss, val_accuracy, rates[end]))
            if report:
                report(pd.DataFrame(history, columns=COLUMNS))
            if waited == training.patience or not np.isfinite(loss + val_loss):
                break
        self.layers = [tuple(array.astype(np.float32) for array in layer) for layer in best]
        return pd.DataFrame(history, columns=COLUMNS)


def scores(probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted sums of the cross-entropy and of the right predictions."""
    chosen = probabilities[np.arange(len(labels)), labels]
    losses = -np.log(np.maximum(chosen, np.finfo(np.float64).tiny))
    return np.array([weights @ losses, weights @ (probabilities.argmax(axis=1) == labels)])
