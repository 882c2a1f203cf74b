"""The parts of a portrait, from the background to the hat."""

import numpy as np
from PIL import Image, ImageFilter

from facemask.data.sources.drawing.canvas import SUPERSAMPLING, Canvas, curve, mirrored, rgb
from facemask.data.sources.drawing.person import CLOTHES, WALLS, Head, Person


def draw_background(canvas: Canvas, person: Person, rng: np.random.Generator) -> None:
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


def draw_body(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
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


def draw_hair_behind(canvas: Canvas, head: Head, person: Person) -> None:
    """Long hair behind the head."""
    length = person.hair_length
    half = [(0.0, -1.10), (0.50, -1.03), (0.84, -0.62), (0.92, 0.0), (0.90, 0.6 * length), (0.70, length)]
    canvas.fill(head.silhouette(curve(mirrored(half)), -0.2), person.hair * 0.72)


def draw_ears(canvas: Canvas, head: Head, skin: np.ndarray) -> None:
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


def draw_eyes(canvas: Canvas, head: Head, person: Person) -> None:
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


def draw_nose(canvas: Canvas, head: Head, skin: np.ndarray, inside: Image.Image) -> None:
    """A lit bridge, a shaded flank, wings and nostrils."""
    x, y, z = np.array(
        [(-0.03, 0.02, 0.80), (0.05, 0.02, 0.80), (0.13, 0.36, 1.00), (0.0, 0.43, 1.02), (-0.05, 0.36, 1.02)]
    ).T
    canvas.fill(head.place(x, y, z), skin * 0.74, 0.6, head.unit * 0.035, inside)
    x, y, z = np.array([(-0.03, -0.05, 0.82), (0.03, -0.05, 0.82), (0.075, 0.34, 1.06), (-0.075, 0.34, 1.06)]).T
    canvas.fill(head.place(x, y, z), np.minimum(skin * 1.12 + 10, 255), 0.75, head.unit * 0.025)
    for sign in (-1, 1):
        wing = curve([(0.06, 0.27), (0.145, 0.35), (0.13, 0.42), (0.05, 0.43)]) * (sign, 1)
        canvas.fill(head.place(wing[:, 0], wing[:, 1], 0.90), skin * 0.80, 0.8, head.unit * 0.015)
        nostril = curve([(0.035, 0.405), (0.095, 0.395), (0.10, 0.43), (0.05, 0.435)]) * (sign, 1)
        canvas.fill(head.place(nostril[:, 0], nostril[:, 1], 0.94), skin * 0.33)


def draw_mouth(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
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


def draw_glasses(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
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


def draw_hair(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
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


def draw_hat(canvas: Canvas, head: Head, person: Person) -> None:
    """A knitted cap."""
    tone = person.hat_colour
    half = [(0.0, -1.22), (0.48, -1.12), (0.80, -0.72), (0.82, -0.44), (0.4, -0.40), (0.0, -0.39)]
    canvas.fill(head.silhouette(curve(mirrored(half)), 0.15), tone)
    band = [(-0.83, -0.56), (0, -0.54), (0.83, -0.56), (0.83, -0.38), (0, -0.34), (-0.83, -0.38)]
    canvas.fill(head.silhouette(band, 0.22), np.minimum(tone * 1.25 + 8, 255))
