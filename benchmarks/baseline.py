"""The baseline, as in many tutorials: all photos in memory, ImageDataGenerator, a frozen network run every epoch.

    python -m benchmarks.baseline RAW.zip MANIFEST.csv WEIGHTS [--epochs 10] [--train-from LAYER] [--cached]

With --cached the same model is trained with tf.data: photos are decoded once, and augmented by Keras layers.
The last line of its output is JSON: the seconds before training, of every epoch and after it, and the test accuracy.
"""

import argparse
import io
import json
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image

from facemask.core.tables import read_csv

if TYPE_CHECKING:
    import keras

SIZE, BATCH = 224, 32
LEARNING_RATE = 1e-4


def read(archive: zipfile.ZipFile, members: pd.Series) -> np.ndarray:
    """Photos in memory: (n, 224, 224, 3), float32, -1 to 1."""
    from keras.applications.mobilenet_v2 import preprocess_input

    photos = (Image.open(io.BytesIO(archive.read(name))).convert("RGB").resize((SIZE, SIZE)) for name in members)
    return preprocess_input(np.stack([np.asarray(photo, np.float32) for photo in photos]))


def build(weights: str, train_from: str | None) -> "keras.Model":
    """The network of the baseline, frozen up to a layer."""
    import keras

    trunk = keras.applications.MobileNetV2(input_shape=(SIZE, SIZE, 3), include_top=False, weights=None)
    trunk.load_weights(weights)
    frozen = True
    for layer in trunk.layers:
        frozen = frozen and layer.name != train_from
        layer.trainable = not frozen and not isinstance(layer, keras.layers.BatchNormalization)
    outputs = keras.layers.GlobalAveragePooling2D()(trunk.output)
    outputs = keras.layers.Dropout(0.5)(keras.layers.Dense(128, activation="relu")(outputs))
    model = keras.Model(trunk.input, keras.layers.Dense(2, activation="softmax")(outputs))
    model.compile(keras.optimizers.Adam(LEARNING_RATE), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def generated(photos: np.ndarray, labels: np.ndarray) -> Any:
    """Batches of augmented samples, new in every epoch, made by one thread of Python."""
    from tensorflow.keras.preprocessing.image import ImageDataGenerator

    return ImageDataGenerator(
        rotation_range=20, zoom_range=0.15, width_shift_range=0.2, height_shift_range=0.2, shear_range=0.15,
        horizontal_flip=True, fill_mode="nearest",
    ).flow(photos, labels, batch_size=BATCH, seed=7)  # fmt: skip


def streamed(photos: np.ndarray, labels: np.ndarray) -> Any:
    """Batches augmented by Keras layers, from photos decoded once."""
    import keras
    import tensorflow as tf

    augment = keras.Sequential([
        keras.layers.RandomFlip("horizontal", seed=7),
        keras.layers.RandomRotation(20 / 360, fill_mode="nearest", seed=7),
        keras.layers.RandomTranslation(0.2, 0.2, fill_mode="nearest", seed=7),
        keras.layers.RandomZoom(0.15, fill_mode="nearest", seed=7),
    ])  # fmt: skip
    data = tf.data.Dataset.from_tensor_slices((photos, labels)).shuffle(len(labels), seed=7).batch(BATCH)
    return data.map(lambda x, y: (augment(x, training=True), y), tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("archive", "manifest", "weights"):
        parser.add_argument(name)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--train-from")
    parser.add_argument("--cached", action="store_true")
    args = parser.parse_args()
    start = time.perf_counter()
    import keras

    keras.utils.set_random_seed(7)
    faces = read_csv(Path(args.manifest))
    faces = faces[faces.dataset == "photos"]
    with zipfile.ZipFile(args.archive) as archive:
        photos = {split: read(archive, part.member) for split, part in faces.groupby("split")}
    labels = {split: part.label.astype("category").cat.codes.to_numpy() for split, part in faces.groupby("split")}
    model = build(args.weights, args.train_from)
    train = (streamed if args.cached else generated)(photos["train"], labels["train"])
    moments = [time.perf_counter()]
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: moments.append(time.perf_counter()))
    validation = photos["validation"], labels["validation"]
    model.fit(train, validation_data=validation, epochs=args.epochs, callbacks=[clock], verbose=2)
    probabilities = model.predict(photos["test"], batch_size=BATCH, verbose=0)
    accuracy = float(np.mean(probabilities.argmax(axis=1) == labels["test"]))
    seconds = {"before": moments[0] - start, "epochs": np.diff(moments).tolist()}
    print(json.dumps(seconds | {"after": time.perf_counter() - moments[-1], "test_accuracy": accuracy}))


if __name__ == "__main__":
    main()
