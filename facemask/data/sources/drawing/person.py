"""A person's attributes, and the pose of the head."""

from types import SimpleNamespace

import numpy as np
from numpy.typing import ArrayLike

from facemask.data.sources.drawing.canvas import curve, mirrored, rgb

DEPTH = 0.80

SKIN = ("f5e0d0", "f0cdb0", "e6b894", "d29f76", "b98258", "9a6742", "7a4d31", "593725", "3f281c")
HAIR = ("17120f", "2b1d14", "4a2f1b", "6f4a26", "a3763f", "d6b06a", "8c3b1c", "8d8d90", "d9d6d0")
CLOTHES = ("1f2a44", "7a1f2b", "35523b", "c9c4b8", "20242a", "b0623a", "5a7d9a", "6a4c7d", "d8b13f")
WALLS = ("c7ccd1", "8f9ba6", "d9cbb6", "6e7f6a", "a38d7d", "44505c", "b9c8cf", "cdb4ae", "3c3f46")
IRISES = ("3b2414", "4d3018", "5b7d8f", "4f6b43", "241810")
FRAMES = ("141414", "3a2414", "6b6b70", "7a1f2b")

# The attributes of a person: measures and their ranges (angles in degrees, the rest in head coordinates or fractions of
# the picture), features and their probabilities, colours with their palettes and ranges of brightness.
MEASURES = {
    "yaw": (-22, 22), "pitch": (-8, 8), "roll": (-8, 8), "scale": (0.36, 0.41),
    "right": (-0.025, 0.025), "down": (-0.025, 0.025), "width": (0.92, 1.06), "jaw": (0.86, 1.14),
    "light": (-0.65, 0.65), "eye_opening": (0.05, 0.085), "gaze": (-0.035, 0.035), "brow_raised": (-0.03, 0.05),
    "brow_thickness": (0.025, 0.05), "smile": (-0.02, 0.07), "mouth_width": (0.21, 0.29), "mouth_gap": (0.0, 0.09),
    "hair_length": (0.7, 1.5), "hairline": (-0.66, -0.42), "parting": (-0.4, 0.4), "shoulders": (1.25, 1.6),
    "exposure": (0.78, 1.08),
}  # fmt: skip
FEATURES = {"bald": 0.08, "long_hair": 0.45, "collar": 0.5, "glasses": 0.25, "dark_glasses": 0.3, "hat": 0.12}
COLOURS = {
    "skin": (SKIN, 0.94, 1.04), "hair": (HAIR, 0.85, 1.15), "iris": (IRISES, 1, 1), "frame": (FRAMES, 1, 1),
    "clothes": (CLOTHES, 0.8, 1.15), "hat_colour": (CLOTHES, 1, 1), "wall": (WALLS, 1, 1), "far_wall": (WALLS, 1, 1),
}  # fmt: skip


class Person(SimpleNamespace):
    """One value for every key of `MEASURES` (float), `FEATURES` (bool) and `COLOURS` (float array (3,), 0 to 255)."""

    @classmethod
    def sample(cls, rng: np.random.Generator) -> "Person":
        """A random person."""
        return cls(
            **{name: rng.uniform(*limits) for name, limits in MEASURES.items()},
            **{name: rng.random() < probability for name, probability in FEATURES.items()},
            **{name: rgb(rng.choice(tones)) * rng.uniform(low, high) for name, (tones, low, high) in COLOURS.items()},
        )


class Head:
    """The projection of a head in its pose onto the canvas."""

    def __init__(self, person: Person, side: int):
        self.yaw = np.radians(person.yaw)
        self.unit = side * person.scale
        self.centre = side * np.array([0.5 + person.right, 0.47 + person.down])
        self.jaw = person.jaw
        yaw, pitch, roll = (
            (np.cos(angle), np.sin(angle)) for angle in np.radians([person.yaw, person.pitch, person.roll])
        )
        turned = [[yaw[0], 0, yaw[1]], [0, 1, 0], [-yaw[1], 0, yaw[0]]]
        nodded = [[1, 0, 0], [0, pitch[0], pitch[1]]]
        tilted = [[roll[0], -roll[1]], [roll[1], roll[0]]]
        self.projection = self.unit * np.array(tilted) @ nodded @ turned @ np.diag([person.width, 1, 1])

    def place(self, x: ArrayLike, y: ArrayLike, z: ArrayLike) -> np.ndarray:
        """Canvas positions (n, 2) of points in head coordinates."""
        across, along, towards = self.projection.T
        return self.centre + np.multiply.outer(x, across) + np.multiply.outer(y, along) + np.multiply.outer(z, towards)

    def on_face(self, points: ArrayLike, lift: float | np.ndarray = 0.0) -> np.ndarray:
        """Canvas positions of points (n, 2) that lie on the front of the head, lifted off it."""
        x, y = np.asarray(points, float).T
        depth = DEPTH * np.sqrt(np.clip(1 - (x / 0.95) ** 2 - (y / 1.35) ** 2, 0.02, 1))
        return self.place(x, y, depth + lift)

    def silhouette(self, points: ArrayLike, depth: ArrayLike = 0.0) -> np.ndarray:
        """Canvas positions of an outline, which yaw moves but does not narrow."""
        x, y = np.asarray(points, float).T
        return self.place(x / np.cos(self.yaw), y, depth)

    def outline(self) -> np.ndarray:
        """The outline of skull and jaw."""
        half = [(0.0, -1.0), (0.40, -0.95), (0.68, -0.66), (0.765, -0.25), (0.75, 0.12)]
        half += [(0.67 * self.jaw**0.4, 0.48), (0.49 * self.jaw, 0.80), (0.22 * self.jaw, 0.985), (0.0, 1.0)]
        shape = curve(mirrored(half))
        chin = np.clip(shape[:, 1], 0, 1) ** 2
        return self.silhouette(shape, 0.38 * chin)
