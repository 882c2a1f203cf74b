"""Things before mouth and nose that are no mask, drawn on the photo of a face.

A photo is square and a face fills it; places and sizes are fractions of its side. Edges are antialiased, and light and
colours vary, so that a network does not see a pattern of the drawing. `hard_negative` is for training; patch, hand and
scarf, with a severity from 1 to 3 of how much is covered, are for tests, and never trained on.
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
    laid = pixels.copy()
    rows, columns = (np.flatnonzero(opacity.any(axis=(other, 2))) for other in (1, 0))
    if len(rows):  # most things are small
        part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        seen = opacity[part]
        laid[part] = np.rint(seen * np.clip(thing[part], 0, 255) + (1 - seen) * pixels[part]).astype(np.uint8)
    return laid


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


def placed(shape: np.ndarray, middle: tuple[float, float], lean: float) -> np.ndarray:
    """The outline (n, 2) of a thing about the origin, turned by lean radians, with its origin in the middle given."""
    turn = np.array([[math.cos(lean), math.sin(lean)], [-math.sin(lean), math.cos(lean)]])
    return shape @ turn + middle


def ellipse(width: float, height: float) -> np.ndarray:
    """The outline (40, 2) of an ellipse about the origin."""
    angle = np.linspace(0, 2 * math.pi, 40, endpoint=False)
    return np.stack([np.cos(angle) * width / 2, np.sin(angle) * height / 2], axis=1)


def rounded(width: float, height: float, radius: float) -> np.ndarray:
    """The outline (40, 2) of a rectangle with round corners about the origin."""
    circle = ellipse(2 * radius, 2 * radius)
    return circle + np.sign(circle + 1e-9) * (np.array([width, height]) / 2 - radius)


def shading(size: int, across: float, rng: np.random.Generator) -> np.ndarray:
    """Light on something round, (size, size, 1): brightest at a place of its width, about the middle of the photo."""
    x = (np.arange(size) / size - 0.5 - rng.uniform(-0.3, 0.3) * across) / across
    return np.broadcast_to(1.15 - 0.55 * np.clip(np.abs(x), 0, 1) ** 1.5, (size, size))[..., None]


def cup(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A cup at the mouth, which hides it and part of the nose."""
    size, lean = len(pixels), rng.uniform(-0.25, 0.25)
    top, height = rng.uniform(0.3, 0.46), rng.uniform(0.3, 0.42)
    middle = 0.5 + rng.uniform(-0.05, 0.05), rng.uniform(0.6, 0.7) + height / 2
    taper = rng.uniform(0.7, 1.0)
    sides = np.array([[-top, -height], [top, -height], [top * taper, height], [-top * taper, height]]) / 2
    body, band = colour((*FABRIC, (236, 234, 228)), rng), colour(((236, 234, 228), (60, 40, 30), (180, 40, 40)), rng)
    light = shading(size, top / 2, rng)
    pixels = lay(pixels, stencil(size, placed(sides, middle, lean)), body * light)
    if rng.random() < 0.5:
        pixels = lay(pixels, stencil(size, placed(sides * (1, 0.4), middle, lean)), band * light)
    rim = placed(ellipse(top, 0.2 * top) - (0, height / 2), middle, lean)
    return lay(pixels, stencil(size, rim), np.broadcast_to(body * rng.uniform(0.35, 1.1), pixels.shape))


def microphone(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A microphone before the mouth, its handle towards a lower corner."""
    size, width, lean = len(pixels), rng.uniform(0.18, 0.32), rng.uniform(-0.7, 0.7)
    middle = 0.5 + rng.uniform(-0.06, 0.06), rng.uniform(0.66, 0.8)
    down = np.array([[-0.3, 0], [0.3, 0], [0.2, 4], [-0.2, 4]]) * width
    tone, metal = rng.uniform(15, 60), rng.uniform(50, 170)
    pixels = lay(pixels, stencil(size, placed(down, middle, lean)), np.broadcast_to(tone, pixels.shape))
    x, y = np.meshgrid(*[np.arange(size) / size] * 2)
    mesh = 1 + 0.3 * np.sin(2 * math.pi * (x + y) * 40) * np.sin(2 * math.pi * (x - y) * 40)
    fall = 1.2 - np.hypot(x - middle[0] + 0.2 * width, y - middle[1] + 0.2 * width)[..., None] / width
    ball = placed(ellipse(width, 1.1 * width), middle, lean)
    return lay(pixels, stencil(size, ball), np.repeat(metal * mesh[..., None] * fall, 3, axis=2))


def phone(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A phone that is held before the lower face: its back, with the lenses in a corner."""
    size, lean = len(pixels), rng.uniform(-0.5, 0.5) + (math.pi / 2 if rng.random() < 0.3 else 0)
    width = rng.uniform(0.3, 0.44)
    height = 1.9 * width
    middle = 0.5 + rng.uniform(-0.08, 0.08), rng.uniform(0.76, 0.9)
    back = colour(((25, 25, 28), (230, 230, 232), (190, 160, 150), (60, 80, 110), *FABRIC), rng)
    x, y = np.meshgrid(*[np.arange(size) / size] * 2)
    gloss = 1 + rng.uniform(0, 0.35) * np.tanh((x + y - rng.uniform(0.9, 1.5)) * 8)[..., None]
    pixels = lay(pixels, stencil(size, placed(rounded(width, height, 0.12 * width), middle, lean)), back * gloss)
    for number in range(rng.integers(1, 4)):
        place = np.array([0.33 * width, -0.4 * height + 0.2 * width * number])
        lens = place + ellipse(0.15 * width, 0.15 * width)
        pixels = lay(pixels, stencil(size, placed(lens, middle, lean)), np.broadcast_to(12.0, pixels.shape))
    return pixels


def beard(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A full beard: strands of hair over jaw and upper lip, the lips left free."""
    size, top = len(pixels), rng.uniform(0.58, 0.66)
    wide, chin = rng.uniform(0.3, 0.38), rng.uniform(0.96, 1.1)
    angle = np.linspace(0, math.pi, 30)
    jaw = np.stack([0.5 + wide * np.cos(angle), top + (chin - top) * np.sin(angle)], axis=1)
    lips = np.array([[0.5 - 0.5 * wide, top + 0.06], [0.5, top + 0.01], [0.5 + 0.5 * wide, top + 0.06]])
    opacity = stencil(size, np.concatenate([jaw, lips]))
    mouth = placed(ellipse(0.7 * wide, 0.09), (0.5, top + 0.15), 0.0)
    opacity = np.clip(opacity - rng.uniform(0.6, 1.0) * stencil(size, mouth), 0, 1)
    opacity = cv2.GaussianBlur(opacity, (0, 0), max(0.5, 0.015 * size))[..., None]
    hair = colour(((30, 24, 20), (58, 40, 28), (96, 66, 40), (150, 110, 70), (140, 138, 134)), rng)
    strands = cv2.GaussianBlur(rng.normal(0, 1, (size, size)), (0, 0), 0.004 * size + 0.3, sigmaY=0.03 * size)
    strands = strands / strands.std()
    density = np.clip(opacity * rng.uniform(0.75, 1.0) * (1 + 0.15 * strands[..., None]), 0, 1)
    return lay(pixels, density, hair * (1 + 0.25 * strands)[..., None])


def neckwear(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cloth about the neck, which ends below the lips."""
    size, top = len(pixels), rng.uniform(0.84, 0.92)
    x = np.linspace(0, 1, 33)
    edge = top + rng.uniform(0.0, 0.08) * np.sin(math.pi * x) + rng.uniform(-0.06, 0.06) * (x - 0.5)
    outline = np.concatenate([np.stack([x, edge], axis=1), [[1, 1.02], [0, 1.02]]])
    across, down = np.meshgrid(*[np.arange(size) / size] * 2)
    folds = np.sin(2 * math.pi * (down * rng.uniform(4, 12) + across * rng.uniform(-4, 4)))
    cloth = colour((*FABRIC, (90, 160, 200), (235, 235, 240)), rng)
    return lay(pixels, stencil(size, outline), cloth * (1 + rng.uniform(0, 0.25) * folds)[..., None])


HARD_NEGATIVES = (cup, microphone, phone, beard, neckwear)


def hard_negative(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One of `HARD_NEGATIVES` on the photo of an unmasked face (size, size, 3), uint8."""
    return HARD_NEGATIVES[rng.integers(len(HARD_NEGATIVES))](pixels, rng)
