"""Things before mouth and nose that are no mask, drawn on the photo of a face: a flat patch, a hand, a scarf.

A photo is square and a face fills it; places and sizes are fractions of its side. The severity, 1 to 3, is how much
is covered. Edges are antialiased, and light and colours vary, so that a network does not see a pattern of the drawing.
"""

import math

import cv2
import numpy as np

SKIN = ((246, 214, 188), (226, 178, 144), (198, 140, 102), (150, 98, 66), (104, 68, 48))
FABRIC = ((178, 34, 52), (34, 58, 110), (46, 46, 48), (120, 128, 136), (200, 184, 150), (62, 98, 70), (110, 60, 100))
SHIFT = 4  # bits behind the point of OpenCV's coordinates


def colour(choices: tuple[tuple[int, int, int], ...], rng: np.random.Generator) -> np.ndarray:
    """One of some colours, a little lighter or darker, (3,) float."""
    return np.clip(np.array(choices[rng.integers(len(choices))]) * rng.uniform(0.75, 1.1), 0, 255)


def stencil(size: int, points: np.ndarray) -> np.ndarray:
    """The inside of a polygon (n, 2), as opacity (size, size, 1), 0 to 1."""
    inside = np.zeros((size, size), np.uint8)
    places = np.rint(points * size * (1 << SHIFT)).astype(np.int32)
    cv2.fillPoly(inside, [places], 255, cv2.LINE_AA, SHIFT)
    return inside[..., None] / 255


def lay(pixels: np.ndarray, opacity: np.ndarray, thing: np.ndarray) -> np.ndarray:
    """A thing (size, size, 3) on a photo, where its opacity (size, size, 1) is."""
    return np.rint(opacity * np.clip(thing, 0, 255) + (1 - opacity) * pixels).astype(np.uint8)


def patch(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """A rectangle of one colour over the lower part of a face."""
    top = (0.66, 0.58, 0.5)[severity - 1]
    corners = np.array([[0.14, top], [0.86, top], [0.86, 0.98], [0.14, 0.98]])
    return lay(pixels, stencil(len(pixels), corners), np.broadcast_to(rng.uniform(30, 220, 3), pixels.shape))


def finger(base: np.ndarray, tip: np.ndarray, width: float) -> np.ndarray:
    """The outline (n, 2) of a straight finger with a round tip."""
    along = (tip - base) / np.linalg.norm(tip - base)
    across = np.array([-along[1], along[0]]) * width / 2
    turn = np.linspace(math.pi / 2, -math.pi / 2, 12)[:, None]
    end = tip + np.cos(turn) * along * width / 2 + np.sin(turn) * across
    return np.concatenate([[base + across], end, [base - across]])


def hand(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """A hand that comes from one side and covers the mouth, then the nose too."""
    size, tone, mirror = len(pixels), colour(SKIN, rng), rng.random() < 0.5
    width = (0.085, 0.105, 0.125)[severity - 1]
    middle = np.array([0.5, (0.76, 0.72, 0.68)[severity - 1]]) + rng.uniform(-0.03, 0.03, 2)
    lean = rng.uniform(-0.25, 0.25)
    along, down = np.array([math.cos(lean), math.sin(lean)]), np.array([-math.sin(lean), math.cos(lean)])
    knuckles = middle - 0.14 * along
    palm = np.array([knuckles + across * down * width - back * along for across, back in
                     ((-2.1, 0), (2.1, 0), (2.3, 0.5), (-1.6, 0.55))])  # fmt: skip
    shapes = [palm]
    for place, reach in ((1.5, 0.28), (-1.5, 0.33), (0.5, 0.36), (-0.5, 0.38)):
        base = knuckles + place * down * width - 0.04 * along
        shapes.append(finger(base, base + (reach + rng.uniform(-0.02, 0.02)) * along, width * rng.uniform(0.94, 1.0)))
    light = 1 + 0.15 * np.linspace(1, -1, size)[:, None, None] * rng.uniform(-1, 1)
    for number, shape in enumerate(shapes):
        points = np.stack([1 - shape[:, 0], shape[:, 1]], axis=1) if mirror else shape
        shadow = stencil(size, points + np.array([0, 0.012]))
        pixels = lay(pixels, 0.35 * shadow, np.zeros_like(pixels)) if number else pixels
        pixels = lay(pixels, stencil(size, points), np.broadcast_to(tone * light, pixels.shape))
    return pixels


def scarf(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """A knitted scarf from below: over the chin, the mouth, the tip of the nose."""
    size, top = len(pixels), (0.74, 0.65, 0.56)[severity - 1] + rng.uniform(-0.02, 0.02)
    x = np.linspace(0, 1, 33)
    droop, lean = rng.uniform(0.02, 0.07), rng.uniform(-0.05, 0.05)
    edge = top + droop * np.sin(math.pi * x) + lean * (x - 0.5) + 0.008 * np.sin(x * rng.uniform(20, 40))
    outline = np.concatenate([np.stack([x, edge], axis=1), [[1, 1.02], [0, 1.02]]])
    across, down = np.meshgrid(*[np.arange(size) / size] * 2)
    folds = np.sin(2 * math.pi * (down * rng.uniform(5, 9) + 0.4 * np.sin(across * rng.uniform(3, 6))))
    knit = np.sin(2 * math.pi * across * size / 4) * np.sin(2 * math.pi * down * size / 4)
    first, second = colour(FABRIC, rng), colour(FABRIC, rng)
    stripes = (np.sin(2 * math.pi * across * rng.uniform(2, 6)) > 0.3) * float(rng.random() < 0.4)
    cloth = first + stripes[..., None] * (second - first)
    return lay(pixels, stencil(size, outline), cloth * (1 + 0.18 * folds + 0.06 * knit)[..., None])
