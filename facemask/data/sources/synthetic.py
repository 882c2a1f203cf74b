"""Synthetic faces: a dataset of three classes that needs no account and no network.

A head is a simple solid: points in head coordinates (x to the viewer's right, y down, z towards the viewer; half a head
height is 1) are rotated by yaw, pitch and roll and projected. Pose, skin, hair, light, background and the kind of mask
vary independently; the classes differ only in the position of the mask.
"""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Literal, NamedTuple

import joblib
import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter
from pydantic import Field

from facemask.core.params import Side
from facemask.core.terminal import counted
from facemask.data.archive import write_archive
from facemask.data.sources.dataset import Dataset

CLASSES = ("incorrect_mask", "with_mask", "without_mask")

SUPERSAMPLING = 2
HALF_WIDTH, DEPTH = 0.78, 0.80

SKIN = ("f5e0d0", "f0cdb0", "e6b894", "d29f76", "b98258", "9a6742", "7a4d31", "593725", "3f281c")
HAIR = ("17120f", "2b1d14", "4a2f1b", "6f4a26", "a3763f", "d6b06a", "8c3b1c", "8d8d90", "d9d6d0")
CLOTHES = ("1f2a44", "7a1f2b", "35523b", "c9c4b8", "20242a", "b0623a", "5a7d9a", "6a4c7d", "d8b13f")
WALLS = ("c7ccd1", "8f9ba6", "d9cbb6", "6e7f6a", "a38d7d", "44505c", "b9c8cf", "cdb4ae", "3c3f46")
SURGICAL = ("9cc7de", "a9d3e6", "eef2f4", "f3f5f5", "b6dccb", "eabfca", "26282b")
CLOTH = ("20242a", "35507a", "3c6a4f", "6f5285", "e7e3da", "2f7f86", "c23b63", "8fb8d8")
RESPIRATOR = ("f6f6f3", "ecebe6", "f3efe4", "2a2c2f")
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
            **{name: rgb(rng.choice(tones)) * rng.uniform(*light) for name, (tones, *light) in COLOURS.items()},
        )


def rgb(colour: str) -> np.ndarray:
    """A colour RRGGBB as float array (3,), 0 to 255."""
    return np.array([int(colour[i : i + 2], 16) for i in (0, 2, 4)], float)


def pixel(colour) -> tuple[int, ...]:
    """A colour as Pillow takes it."""
    return tuple(min(max(int(value), 0), 255) for value in colour)


def catmull_rom(steps: int) -> np.ndarray:
    """The weights (steps, 4) of four points in a row, for the steps from the second to the third."""
    t = np.arange(steps)[:, None] / steps
    return 0.5 * np.hstack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2])


SPLINE = catmull_rom(steps=8)


def curve(points, closed: bool = True) -> np.ndarray:
    """A Catmull-Rom spline through points (n, 2), as a polyline (m, 2)."""
    points = np.asarray(points, float)
    if closed:
        padded = np.concatenate([points[-1:], points, points[:2]])
    else:
        padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    rows = np.stack([padded[:-3], padded[1:-2], padded[2:-1], padded[3:]])
    spline = np.einsum("sk,knd->nsd", SPLINE, rows).reshape(-1, 2)
    return spline if closed else np.concatenate([spline, points[-1:]])


def mirrored(right) -> np.ndarray:
    """A closed shape from its right half, given from top to bottom, and the mirror image of that."""
    right = np.asarray(right, float)
    return np.vstack([right, right[::-1] * (-1, 1)])


class Canvas:
    """A supersampled picture, for antialiased edges."""

    def __init__(self, size: int):
        self.size = size
        self.side = size * SUPERSAMPLING
        self.image = Image.new("RGB", (self.side, self.side))

    def stencil(self, points) -> Image.Image:
        """The inside of a polygon (n, 2), in canvas pixels, as a mask of the size of the canvas."""
        stencil = Image.new("L", self.image.size)
        ImageDraw.Draw(stencil).polygon(np.ravel(points).tolist(), fill=255)
        return stencil

    def fill(self, points, colour, opacity: float = 1.0, blur: float = 0.0, inside: Image.Image | None = None):
        """Fill a polygon, blurred by a number of pixels, and only inside a stencil if one is given."""
        points = np.asarray(points)
        left, top = (max(0, int(least - 3 * blur)) for least in points.min(axis=0))
        right, bottom = (min(self.side, int(most + 3 * blur) + 2) for most in points.max(axis=0))
        if left >= right or top >= bottom:
            return
        stencil = Image.new("L", (right - left, bottom - top))
        ImageDraw.Draw(stencil).polygon((points - (left, top)).ravel().tolist(), fill=round(255 * opacity))
        if blur:
            stencil = stencil.filter(ImageFilter.GaussianBlur(blur))
        box = (left, top, right, bottom)
        if inside is not None:
            stencil = ImageChops.multiply(stencil, inside.crop(box))
        self.image.paste(pixel(colour), box, stencil)

    def line(self, points, colour, width: float):
        """Draw a polyline; width in canvas pixels."""
        ImageDraw.Draw(self.image).line(
            np.ravel(points).tolist(), fill=pixel(colour), width=max(1, round(width)), joint="curve"
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

    def place(self, x, y, z) -> np.ndarray:
        """Canvas positions (n, 2) of points in head coordinates."""
        across, along, towards = self.projection.T
        return self.centre + np.multiply.outer(x, across) + np.multiply.outer(y, along) + np.multiply.outer(z, towards)

    def on_face(self, points, lift: float = 0.0) -> np.ndarray:
        """Canvas positions of points (n, 2) that lie on the front of the head, lifted off it."""
        x, y = np.asarray(points, float).T
        depth = DEPTH * np.sqrt(np.clip(1 - (x / 0.95) ** 2 - (y / 1.35) ** 2, 0.02, 1))
        return self.place(x, y, depth + lift)

    def silhouette(self, points, depth=0.0) -> np.ndarray:
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


def draw_background(canvas: Canvas, person: Person, rng: np.random.Generator):
    """A wall with a gradient of light, and blurred shapes before it."""
    side = canvas.side
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0 : canvas.size, 0 : canvas.size] / canvas.size - 0.5
    ramp = np.clip(0.5 + (x * np.cos(angle) + y * np.sin(angle)), 0, 1)[..., None]
    gradient = Image.fromarray((person.wall * (1 - ramp) + person.far_wall * ramp).astype(np.uint8))
    canvas.image = gradient.resize((side, side), Image.Resampling.BILINEAR)
    for _ in range(rng.integers(2, 7)):
        tone = rgb(rng.choice(WALLS + CLOTHES)) * rng.uniform(0.6, 1.25)
        centre, extent = rng.uniform(0, side, 2), rng.uniform(0.06, 0.32, 2) * side
        if rng.random() < 0.5:
            corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * extent
        else:
            t = np.linspace(0, 2 * np.pi, 24, endpoint=False)
            corners = np.stack([np.cos(t), np.sin(t)], axis=1) * extent[0]
        canvas.fill(centre + corners, tone, opacity=rng.uniform(0.3, 0.8))
    small = canvas.image.reduce(SUPERSAMPLING)
    blurred = small.filter(ImageFilter.GaussianBlur(canvas.size * rng.uniform(0.008, 0.03)))
    canvas.image = blurred.resize((side, side), Image.Resampling.BILINEAR)


def draw_body(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator):
    """Neck and shoulders; they stay upright when the head turns."""
    cloth = person.clothes
    x, y = head.place(0, 0.55, 0)
    u = head.unit
    neck = [(-0.36, 0), (0.36, 0), (0.42, 0.9), (-0.42, 0.9)]
    canvas.fill(np.array(neck) * u + (x, y), person.skin * 0.80)
    slope, width = rng.uniform(0.10, 0.30), person.shoulders
    half = [(0.0, 0.78), (0.36, 0.58), (0.75, 0.66 + slope * 0.4), (width, 0.80 + slope), (width + 0.1, 3.0)]
    canvas.fill(np.vstack([curve(half, closed=False), curve(half, closed=False)[::-1] * (-1, 1)]) * u + (x, y), cloth)
    if person.collar:
        for sign in (-1, 1):
            collar = [(0, 0.85), (sign * 0.36, 0.55), (sign * 0.52, 0.72), (sign * 0.16, 1.12)]
            canvas.fill(np.array(collar) * u + (x, y), np.minimum(cloth * 1.25 + 12, 255))


def draw_hair_behind(canvas: Canvas, head: Head, person: Person):
    """Long hair behind the head."""
    length = person.hair_length
    half = [(0.0, -1.10), (0.50, -1.03), (0.84, -0.62), (0.92, 0.0), (0.90, 0.6 * length), (0.70, length)]
    canvas.fill(head.silhouette(curve(mirrored(half)), -0.2), person.hair * 0.72)


def draw_ears(canvas: Canvas, head: Head, skin: np.ndarray):
    """The ears; the head, drawn later, covers the far one of a turned head."""
    t = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    for sign in (-1, 1):
        ear = head.place(sign * (0.79 + 0.09 * np.cos(t)), 0.04 + 0.21 * np.sin(t), -0.06)
        canvas.fill(ear, skin * 0.90)
        canvas.fill(head.place(sign * (0.80 + 0.045 * np.cos(t)), 0.04 + 0.13 * np.sin(t), -0.06), skin * 0.74)


def draw_skull(canvas: Canvas, head: Head, person: Person) -> Image.Image:
    """The head without hair: shading, cheeks and eye sockets; returns its stencil."""
    skin = person.skin
    outline = head.outline()
    canvas.fill(outline, skin)
    inside = canvas.stencil(outline)
    blur = head.unit * 0.16
    light = head.unit * person.light
    canvas.fill(outline + np.array((light, head.unit * 0.1)), np.minimum(skin * 1.10 + 8, 255), 0.75, blur, inside)
    canvas.fill(head.on_face(curve([(-0.5, 0.78), (0, 0.70), (0.5, 0.78), (0, 1.15)])), skin * 0.78, 0.5, blur, inside)
    t = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    for sign in (-1, 1):
        cheek = np.stack([sign * 0.42 + 0.18 * np.cos(t), 0.32 + 0.13 * np.sin(t)], axis=1)
        canvas.fill(head.on_face(cheek), skin * (1.06, 0.86, 0.84), 0.45, head.unit * 0.08, inside)
        socket = np.stack([sign * 0.31 + 0.19 * np.cos(t), -0.06 + 0.12 * np.sin(t)], axis=1)
        canvas.fill(head.on_face(socket), skin * 0.80, 0.55, head.unit * 0.05, inside)
    return inside


def draw_eyes(canvas: Canvas, head: Head, person: Person):
    """Eyes, lids and brows."""
    skin, opening, gaze = person.skin, person.eye_opening, person.gaze
    t = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    for sign in (-1, 1):
        eye = np.stack([sign * 0.31 + 0.145 * np.cos(t), opening * np.sin(t)], axis=1)
        points = head.on_face(eye)
        canvas.fill(points, (240, 238, 234))
        white = canvas.stencil(points)
        for radius, tone in ((0.078, person.iris), (0.038, (12, 10, 10))):
            disc = np.stack([sign * 0.31 + gaze + radius * np.cos(t), radius * np.sin(t)], axis=1)
            canvas.fill(head.on_face(disc), tone, inside=white)
        glint = np.stack([sign * 0.31 + gaze + 0.028 + 0.016 * np.cos(t), -0.03 + 0.016 * np.sin(t)], axis=1)
        canvas.fill(head.on_face(glint), (252, 252, 252), inside=white)
        lid = np.stack(
            [sign * 0.31 + np.linspace(-0.155, 0.155, 9), -opening * np.sin(np.linspace(0, np.pi, 9))], axis=1
        )
        canvas.line(head.on_face(lid), skin * 0.28, head.unit * 0.030)
        fold = lid * (1, 1.3) - (0, 0.035)
        canvas.line(head.on_face(fold), skin * 0.66, head.unit * 0.018)
        top = np.linspace(0.12, 0.50, 7)
        arch = -0.20 - person.brow_raised - 0.05 * np.sin(np.linspace(0.3, np.pi, 7))
        brow = np.vstack(
            [
                np.stack([top, arch], 1),
                np.stack([top, arch + person.brow_thickness * np.linspace(1.6, 0.4, 7)], 1)[::-1],
            ]
        )
        canvas.fill(head.on_face(brow * (sign, 1)), person.hair * 0.62 + skin * 0.12)


def draw_nose(canvas: Canvas, head: Head, skin: np.ndarray, inside: Image.Image):
    """A lit bridge, a shaded flank, wings and nostrils."""
    x, y, z = np.array(
        [(-0.03, 0.02, 0.80), (0.05, 0.02, 0.80), (0.13, 0.36, 1.00), (0.0, 0.43, 1.02), (-0.05, 0.36, 1.02)]
    ).T
    canvas.fill(head.place(x, y, z), skin * 0.74, 0.6, head.unit * 0.035, inside)
    x, y, z = np.array([(-0.03, -0.05, 0.82), (0.03, -0.05, 0.82), (0.075, 0.34, 1.06), (-0.075, 0.34, 1.06)]).T
    canvas.fill(head.place(x, y, z), np.minimum(skin * 1.12 + 10, 255), 0.75, head.unit * 0.025)
    for sign in (-1, 1):
        wing = curve([(0.06, 0.27), (0.145, 0.35), (0.13, 0.42), (0.05, 0.43)]) * (sign, 1)
        canvas.fill(head.place(*wing.T, 0.90), skin * 0.80, 0.8, head.unit * 0.015)
        nostril = curve([(0.035, 0.405), (0.095, 0.395), (0.10, 0.43), (0.05, 0.435)]) * (sign, 1)
        canvas.fill(head.place(*nostril.T, 0.94), skin * 0.33)


def draw_mouth(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator):
    """Lips, closed or open to show teeth."""
    smile, width, gap = person.smile, person.mouth_width, person.mouth_gap
    lips = person.skin * (0.86, 0.58, 0.58) * rng.uniform(0.85, 1.1)
    y = 0.645
    upper = [
        (-width, y - smile),
        (-0.09, y - 0.055),
        (0, y - 0.04),
        (0.09, y - 0.055),
        (width, y - smile),
        (0, y + 0.015),
    ]
    lower = [(-width, y - smile), (0, y + gap), (width, y - smile), (0.12, y + 0.075 + gap), (-0.12, y + 0.075 + gap)]
    if gap > 0.04:
        canvas.fill(
            head.on_face(curve([(-width, y - smile), (0, y - 0.01), (width, y - smile), (0, y + gap + 0.02)]), 0.03),
            (236, 231, 224),
        )
    canvas.fill(head.on_face(curve(upper), 0.05), lips * 0.92)
    canvas.fill(head.on_face(curve(lower), 0.04), np.minimum(lips * 1.12, 255))
    seam = [(-width, y - smile), (0, y + 0.012), (width, y - smile)]
    canvas.line(head.on_face(curve(seam, closed=False), 0.05), lips * 0.42, head.unit * 0.016)


def draw_glasses(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator):
    """Spectacles or sunglasses."""
    t = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    frame, dark, squareness = person.frame, person.dark_glasses, rng.choice((1.0, 0.55))
    for sign in (-1, 1):
        x = np.sign(np.cos(t)) * np.abs(np.cos(t)) ** squareness
        y = np.sign(np.sin(t)) * np.abs(np.sin(t)) ** squareness
        lens = head.on_face(np.stack([sign * 0.32 + 0.215 * x, 0.01 + 0.155 * y], axis=1), 0.10)
        canvas.fill(lens, frame * 0.5 if dark else (225, 235, 240), 0.93 if dark else 0.16)
        canvas.line(np.vstack([lens, lens[:2]]), frame, head.unit * 0.032)
        canvas.line(head.place(sign * np.array([0.53, 0.80]), -0.03, np.array([0.60, 0.0])), frame, head.unit * 0.03)
    canvas.line(head.on_face([(-0.11, -0.02), (0, -0.05), (0.11, -0.02)], 0.12), frame, head.unit * 0.03)


def draw_hair(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator):
    """Hair over the forehead and at the sides."""
    top = 1.06 + rng.uniform(0.0, 0.14)
    hair, line, part = person.hair, person.hairline, person.parting
    side = rng.uniform(0.05, 0.5) if person.long_hair else rng.uniform(-0.35, -0.05)
    outer = [
        (-0.80, side),
        (-0.84, -0.40),
        (-0.64, -0.86),
        (-0.3, -top),
        (0.3, -top),
        (0.64, -0.86),
        (0.84, -0.40),
        (0.80, side),
    ]
    inner = [
        (0.70, side - 0.02),
        (0.66, -0.30),
        (0.5, line + 0.06),
        (part, line - 0.10),
        (-0.5, line + 0.06),
        (-0.66, -0.30),
        (-0.70, side - 0.02),
    ]
    shape = np.vstack([curve(outer, closed=False), curve(inner, closed=False)])
    depth = 0.42 * np.clip(-shape[:, 1] - 0.1, 0, 0.5)
    canvas.fill(head.silhouette(shape, depth), hair)
    for offset in np.linspace(-0.5, 0.5, 9) + rng.uniform(-0.05, 0.05, 9):
        strand = curve(
            [(part * 0.5 + offset * 0.5, -top + 0.06), (offset * 1.1, -0.88), (offset * 1.2, line - 0.16)], closed=False
        )
        canvas.line(head.silhouette(strand, 0.2), hair * rng.choice((0.86, 1.12)) + 3, head.unit * 0.02)


def draw_hat(canvas: Canvas, head: Head, person: Person):
    """A knitted cap."""
    tone = person.hat_colour
    half = [(0.0, -1.22), (0.48, -1.12), (0.80, -0.72), (0.82, -0.44), (0.4, -0.40), (0.0, -0.39)]
    canvas.fill(head.silhouette(curve(mirrored(half)), 0.15), tone)
    band = [(-0.83, -0.56), (0, -0.54), (0.83, -0.56), (0.83, -0.38), (0, -0.34), (-0.83, -0.38)]
    canvas.fill(head.silhouette(band, 0.22), np.minimum(tone * 1.25 + 8, 255))


def mask_edges(rng: np.random.Generator, label: str) -> tuple[float, float]:
    """Heights of a mask's upper and lower edge on the face, in head coordinates."""
    if label == "with_mask":
        return rng.uniform(0.06, 0.16), rng.uniform(0.98, 1.06)
    if rng.random() < 0.8:
        return rng.uniform(0.52, 0.58), rng.uniform(1.02, 1.12)
    return rng.uniform(0.70, 0.76), rng.uniform(1.14, 1.24)


def draw_mask(canvas: Canvas, head: Head, rng: np.random.Generator, label: str):
    """A surgical mask, a cloth mask or a respirator, over nose and chin or not."""
    top, bottom = mask_edges(rng, label)
    kind = rng.choice(("surgical", "surgical", "cloth", "respirator"))
    tone = rgb(rng.choice({"surgical": SURGICAL, "cloth": CLOTH, "respirator": RESPIRATOR}[kind])) * rng.uniform(
        0.92, 1.03
    )
    middle = (top + bottom) / 2
    rise = min(0.10, 0.30 * (bottom - top))
    width = 0.66 - 0.22 * max(0.0, top - 0.45)
    lift = {"surgical": 0.14, "cloth": 0.12, "respirator": 0.26}[kind]
    strap = np.clip(tone * 0.92, 40, 245)
    for sign in (-1, 1):
        for height, ear in ((top + 0.08, -0.12), (bottom - 0.24, 0.20)):
            loop = [(sign * width * 0.85, height), (sign * 0.80, ear)]
            x, y = np.array(loop).T
            canvas.line(head.place(x, y, np.array([0.42, -0.05])), strap, head.unit * 0.026)
    half = [(0.0, top - rise), (0.20, top - rise * 0.55), (0.44, top + 0.02), (width, top + 0.07)]
    half += [(width * 0.97, middle + 0.06), (width * 0.80, bottom - 0.14), (0.30, bottom - 0.01), (0.0, bottom + 0.02)]
    shape = curve(mirrored(half))
    bulge = lift * np.clip(1 - (shape[:, 0] / width) ** 2, 0, 1)
    outline = head.on_face(shape, bulge)
    shadow = outline + np.array((0, head.unit * 0.035))
    canvas.fill(shadow, (20, 14, 12), 0.35, head.unit * 0.03)
    canvas.fill(outline, tone)
    inside = canvas.stencil(outline)
    across = np.linspace(-width, width, 15)
    over = lift * (1 - (across / width) ** 2)
    if kind == "surgical":
        for height in np.linspace(top + 0.14, bottom - 0.12, 4 if bottom - top > 0.6 else 2):
            sag = height + 0.03 * (1 - (across / width) ** 2)
            pleat = across * (0.98 - 0.3 * max(0.0, (height - middle) / (bottom - middle)) ** 2)
            canvas.line(head.on_face(np.stack([pleat, sag], 1), over), tone * 0.82, head.unit * 0.020)
            canvas.line(
                head.on_face(np.stack([pleat, sag + 0.022], 1), over),
                np.minimum(tone * 1.06 + 6, 255),
                head.unit * 0.014,
            )
        wire = np.stack([across * 0.45, top - rise * 0.75 + 0.35 * np.abs(across * 0.45) ** 1.5 + 0.05], 1)
        canvas.line(head.on_face(wire, lift), tone * 0.9, head.unit * 0.03)
    elif kind == "cloth":
        pattern = rng.choice(("plain", "dots", "stripes"))
        accent = rgb(rng.choice(CLOTH))
        if pattern == "dots":
            t = np.linspace(0, 2 * np.pi, 10, endpoint=False)
            for i, y in enumerate(np.arange(top, bottom, 0.13)):
                for x in np.arange(-0.6, 0.61, 0.16) + 0.08 * (i % 2):
                    dot = np.stack([x + 0.03 * np.cos(t), y + 0.03 * np.sin(t)], 1)
                    canvas.fill(head.on_face(dot, lift * 0.7), accent, inside=inside)
        elif pattern == "stripes":
            for x in np.arange(-0.6, 0.61, 0.15):
                y = np.linspace(top - 0.1, bottom + 0.05, 8)
                stripe = np.vstack([np.stack([np.full(8, x), y], 1), np.stack([np.full(8, x + 0.06), y], 1)[::-1]])
                canvas.fill(head.on_face(stripe, lift * 0.7), accent, inside=inside)
        y = np.linspace(top - rise, bottom, 8)
        canvas.line(head.on_face(np.stack([np.zeros(8), y], 1), lift), tone * 0.68, head.unit * 0.018)
    else:
        seam = middle - 0.04 + 0.10 * (across / width) ** 2
        canvas.line(head.on_face(np.stack([across, seam], 1), over), tone * 0.80, head.unit * 0.022)
        rim = 0.93 * (shape - (0, middle)) + (0, middle)
        canvas.line(head.on_face(rim, bulge), tone * 0.88, head.unit * 0.014)
        if rng.random() < 0.5:
            t = np.linspace(0, 2 * np.pi, 20, endpoint=False)
            for radius, grey in ((0.105, 0.70), (0.080, 0.92)):
                valve = np.stack([0.24 + radius * np.cos(t), middle + 0.14 + radius * np.sin(t)], 1)
                canvas.fill(head.on_face(valve, lift), tone * grey + 8)
    shade = rng.choice((-1, 1)) * head.unit * 0.55
    canvas.fill(outline + np.array((shade, head.unit * 0.12)), (0, 0, 0), 0.22, head.unit * 0.14, inside)


class Patch(NamedTuple):
    """An occluding patch on a face: its edges in head coordinates, and its colour (3,), 0 to 255."""

    left: float
    right: float
    top: float
    bottom: float
    colour: np.ndarray

    @classmethod
    def sample(cls, rng: np.random.Generator) -> "Patch":
        """A random patch between forehead and chin."""
        x, y = rng.uniform((-0.3, -0.7), (0.3, 0.95))
        width, height = rng.uniform((0.3, 0.15), (0.75, 0.5))
        return cls(
            x - width, x + width, y - height, y + height, rgb(rng.choice(CLOTHES + CLOTH)) * rng.uniform(0.9, 1.1)
        )


def draw_patch(canvas: Canvas, head: Head, patch: Patch):
    """A patch with round corners, its shadow and a fold."""
    t = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    corners = np.stack([np.cos(t), np.sin(t)], axis=1)
    corners = np.sign(corners) * np.abs(corners) ** 0.5
    middle = np.array([patch.left + patch.right, patch.top + patch.bottom]) / 2
    shape = middle + corners * (patch.right - patch.left, patch.bottom - patch.top) / 2
    shape = np.clip(shape, (-0.85, -1.0), (0.85, 1.15))
    outline = head.on_face(shape, 0.08)
    canvas.fill(outline + np.array((0, head.unit * 0.03)), (20, 14, 12), 0.35, head.unit * 0.03)
    canvas.fill(outline, patch.colour)
    fold = np.stack([np.linspace(patch.left, patch.right, 9) * 0.9, np.full(9, middle[1])], axis=1)
    canvas.line(head.on_face(np.clip(fold, -0.8, 0.8), 0.08), patch.colour * 0.85, head.unit * 0.02)


def develop(canvas: Canvas, exposure: float, rng: np.random.Generator) -> Image.Image:
    """Camera effects: exposure, white balance, blur and noise."""
    picture = canvas.image.resize((canvas.size, canvas.size), Image.Resampling.BOX)
    if rng.random() < 0.3:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.0)))
    pixels = np.asarray(picture, float) * exposure * rng.uniform(0.96, 1.04, 3)
    pixels += rng.normal(0, rng.uniform(0.5, 3.0), pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def draw_figure(
    canvas: Canvas, head: Head, person: Person, rng: np.random.Generator, label: str, patch: Patch | None = None
):
    """Somebody, before whatever the canvas shows already; the parameters are those of `draw_person`."""
    if person.long_hair and not person.bald:
        draw_hair_behind(canvas, head, person)
    draw_body(canvas, head, person, rng)
    draw_ears(canvas, head, person.skin)
    inside = draw_skull(canvas, head, person)
    draw_eyes(canvas, head, person)
    draw_mouth(canvas, head, person, rng)
    draw_nose(canvas, head, person.skin, inside)
    if label != "without_mask":
        draw_mask(canvas, head, rng, label)
    if patch is not None:
        draw_patch(canvas, head, patch)
    if person.glasses:
        draw_glasses(canvas, head, person, rng)
    if not person.bald:
        draw_hair(canvas, head, person, rng)
    if person.hat:
        draw_hat(canvas, head, person)


def draw_person(
    person: Person, rng: np.random.Generator, label: str, size: int, patch: Patch | None = None
) -> Image.Image:
    """Draw a person.

    Parameters
    ----------
    person : Person
        The attributes of the person.
    rng : Generator
        For the rest: mask, background, strands of hair, noise.
    label : str
        One of `CLASSES`.
    size : int
        Side of the square RGB picture, in pixels.
    patch : Patch, optional
        An occlusion of the face.
    """
    canvas = Canvas(size)
    head = Head(person, canvas.side)
    draw_background(canvas, person, rng)
    draw_figure(canvas, head, person, rng, label, patch)
    return develop(canvas, person.exposure, rng)


def draw_face(rng: np.random.Generator, label: str, size: int) -> Image.Image:
    """Draw a random person of a class; size is the side of the picture in pixels."""
    return draw_person(Person.sample(rng), rng, label, size)


def draw_member(index: int, size: int) -> tuple[str, bytes]:
    """The archive member `CLASS/NUMBER.jpg` and its JPEG bytes, which depend only on index and size."""
    number, which = divmod(index, len(CLASSES))
    picture = draw_face(np.random.default_rng([which, number]), CLASSES[which], size)
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=90)
    return f"{CLASSES[which]}/{number:05d}.jpg", jpeg.getvalue()


class Synthetic(Dataset):
    """Synthetic faces: how many, and the side of their pictures in pixels."""

    source: Literal["synthetic"]
    images: Annotated[int, Field(ge=30)]
    size: Side


def fetch(dataset: Synthetic, destination: Path) -> dict[str, str | int | None]:
    """Draw `dataset.images` faces, classes in turn; a larger dataset starts with the faces of a smaller one."""
    work = (joblib.delayed(draw_member)(index, dataset.size) for index in range(dataset.images))
    drawn = joblib.Parallel(n_jobs=joblib.cpu_count(), batch_size=16, return_as="generator")(work)
    write_archive(destination, counted(drawn, "draw", dataset.images, "faces"))
    return {"name": "faces drawn by facemask", "version": None, "licence": "MIT"}
