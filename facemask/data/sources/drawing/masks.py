"""Masks, and patches that cover other parts of a face."""

from typing import NamedTuple

import numpy as np

from facemask.data.sources.drawing.canvas import Canvas, curve, mirrored, rgb
from facemask.data.sources.drawing.person import CLOTHES, Head

SURGICAL = ("9cc7de", "a9d3e6", "eef2f4", "f3f5f5", "b6dccb", "eabfca", "26282b")
CLOTH = ("20242a", "35507a", "3c6a4f", "6f5285", "e7e3da", "2f7f86", "c23b63", "8fb8d8")
RESPIRATOR = ("f6f6f3", "ecebe6", "f3efe4", "2a2c2f")


def mask_edges(rng: np.random.Generator, label: str) -> tuple[float, float]:
    """Heights of a mask's upper and lower edge on the face, in head coordinates."""
    if label == "with_mask":
        return rng.uniform(0.06, 0.16), rng.uniform(0.98, 1.06)
    if rng.random() < 0.8:
        return rng.uniform(0.52, 0.58), rng.uniform(1.02, 1.12)
    return rng.uniform(0.70, 0.76), rng.uniform(1.14, 1.24)


def draw_mask(canvas: Canvas, head: Head, rng: np.random.Generator, label: str) -> None:
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


def draw_patch(canvas: Canvas, head: Head, patch: Patch) -> None:
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
