"""Scenes drawn by the project: its synthetic people, near and far, in clutter, with a PASCAL VOC annotation each.

A figure is drawn on black and on white, and where the two differ the scene shows through (A. R. Smith, J. F. Blinn,
"Blue screen matting", SIGGRAPH 1996). So no picture frame about a face gives it away, and figures hide parts of each
other as people in a crowd do.
"""

import functools
import io
from pathlib import Path
from typing import Annotated, Literal, NamedTuple
from xml.sax.saxutils import escape

import joblib
import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from pydantic import Field

from facemask.core.params import Seed
from facemask.core.terminal import counted
from facemask.data.archive import write_archive
from facemask.data.boxes import Box
from facemask.data.sources.dataset import Dataset
from facemask.data.sources.drawing.canvas import Canvas, rgb
from facemask.data.sources.drawing.person import CLOTHES, SKIN, WALLS, Head, Person
from facemask.data.sources.drawing.portrait import draw_figure

SIZES = 12, 200  # pixels of a face's height
NEARNESS = 0.4  # 1: as many of 12 to 24 pixels as of 100 to 200; 0: all as near as can be
FRACTIONS = {"incorrect_mask": 0.3, "with_mask": 0.35, "without_mask": 0.35}
EMPTY = 0.1  # of the scenes have clutter and nobody in it
PEOPLE = 1, 7
FIGURE = 0.7  # of the scale of a portrait: there is more of the body
TRIES = 20
MAX_HIDDEN = 0.25  # of a face's box
OCCLUDED = 0.2  # of the faces have something in front of them


class Marked(NamedTuple):
    """A face in a scene."""

    label: str
    box: Box


class Figure(NamedTuple):
    """A person cut out: colours (size, size, 3), 0 to 255, times opacity (size, size, 1); and the face in it."""

    colours: np.ndarray
    opacity: np.ndarray
    face: Box


def draw_cut_out(label: str, height: int, rng: np.random.Generator) -> Figure:
    """Anyone, with a face of about this height in pixels."""
    person, key = Person.sample(rng), int(rng.integers(2**32))
    person.scale *= FIGURE
    size = round(height / (2 * person.scale))
    pictures = []
    for ground in ("black", "white"):
        canvas = Canvas(size)
        canvas.image.paste(ground, (0, 0, canvas.side, canvas.side))
        head = Head(person, canvas.side)
        draw_figure(canvas, head, person, np.random.default_rng(key), label)
        pictures.append(np.asarray(canvas.image.resize((size, size), Image.Resampling.BOX), float))
    black, white = pictures
    outline = head.outline() * size / canvas.side
    box = Box(*np.floor(outline.min(axis=0)).astype(int).tolist(), *np.ceil(outline.max(axis=0)).astype(int).tolist())
    opacity = np.clip(1 - (white - black).mean(axis=2, keepdims=True) / 255, 0, 1)
    return Figure(black * person.exposure, opacity, box)


def draw_clutter(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """A wall with furniture, boards, balls and lamps, some of them of the colours of skin and masks."""
    shades = np.stack([rgb(rng.choice(WALLS)) * rng.uniform(0.6, 1.2) for _ in range(4)]).reshape(2, 2, 3)
    scene = Image.fromarray(np.clip(shades, 0, 255).astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(scene)
    for _ in range(rng.integers(8, 30)):
        tone = tuple(np.clip(rgb(rng.choice(WALLS + CLOTHES + SKIN)) * rng.uniform(0.6, 1.25), 0, 255).astype(int))
        across, down = np.exp(rng.uniform(np.log(6), np.log(width / 2), 2))
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        place = (x - across / 2, y - down / 2, x + across / 2, y + down / 2)
        if rng.random() < 0.5:
            draw.rectangle(place, tone)
        else:
            draw.ellipse(place, tone)
    return scene.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 2.0)))


def hidden(box: Box, opacity: np.ndarray) -> float:
    """What fraction of a box is covered."""
    return float(opacity[box.top : box.bottom, box.left : box.right].mean())


def place(
    figure: Figure, width: int, height: int, faces: list[Marked], rng: np.random.Generator
) -> tuple[Box, np.ndarray, np.ndarray] | None:
    """Find a place for a figure where its face is in the scene and no other face is hidden.

    Returns
    -------
    (face, colours, opacity)
        Its face's box, and its colours and opacity on the whole scene (height, width, ...); None if there is none.
    """
    across, down = figure.face.right - figure.face.left, figure.face.bottom - figure.face.top
    size = len(figure.opacity)
    for _ in range(TRIES):
        left, top = rng.integers(0, max(1, width - across)), rng.integers(0, max(1, height - down))
        face = Box(int(left), int(top), int(left) + across, int(top) + down).within(width, height)
        x, y = int(left) - figure.face.left, int(top) - figure.face.top
        seen = Box(x, y, x + size, y + size).within(width, height)
        colours, opacity = np.zeros((height, width, 3)), np.zeros((height, width, 1))
        inside = np.s_[seen.top : seen.bottom, seen.left : seen.right]
        from_ = np.s_[seen.top - y : seen.bottom - y, seen.left - x : seen.right - x]
        colours[inside], opacity[inside] = figure.colours[from_], figure.opacity[from_]
        if all(hidden(other.box, opacity) <= MAX_HIDDEN for other in faces):
            return face, colours, opacity
    return None


def occluder(box: Box, width: int, height: int, rng: np.random.Generator) -> Box:
    """What is in front of a face: a pillar at its left or right, or something above, over less than `MAX_HIDDEN`."""
    across, down = box.right - box.left, box.bottom - box.top
    fraction, side = rng.uniform(0.1, MAX_HIDDEN), rng.choice(("left", "right", "top"))
    if side == "top":
        region = Box(box.left, box.top - down // 3, box.right, box.top + int(fraction * down))
    elif side == "left":
        region = Box(box.left - across // 3, box.top - down // 5, box.left + int(fraction * across), height)
    else:
        region = Box(box.right - int(fraction * across), box.top - down // 5, box.right + across // 3, height)
    return region.within(width, height)


def draw_scene(seed: int, number: int, size: int) -> tuple[Image.Image, list[Marked]]:
    """A scene of size pixels on its longer side, and its faces; it depends on these three numbers alone."""
    rng = np.random.default_rng([seed, number])
    shorter = round(size * rng.uniform(0.65, 1))
    width, height = (size, shorter) if rng.random() < 0.6 else (shorter, size)
    pixels = np.asarray(draw_clutter(width, height, rng), float)
    people = 0 if rng.random() < EMPTY else int(rng.integers(*PEOPLE))
    largest = min(SIZES[1], 0.75 * shorter)
    heights = np.sort(SIZES[0] * (largest / SIZES[0]) ** (rng.random(people) ** NEARNESS))
    faces: list[Marked] = []
    for tall in heights:  # who is near hides who is far
        label = str(rng.choice(list(FRACTIONS), p=list(FRACTIONS.values())))
        figure = draw_cut_out(label, round(tall), rng)
        if placed := place(figure, width, height, faces, rng):
            face, colours, opacity = placed
            pixels = pixels * (1 - opacity) + colours
            faces.append(Marked(label, face))
            front = occluder(face, width, height, rng)
            cover = np.zeros((height, width))
            cover[front.top : front.bottom, front.left : front.right] = 1
            if rng.random() < OCCLUDED and all(hidden(other.box, cover) <= MAX_HIDDEN for other in faces):
                pixels[cover > 0] = rgb(rng.choice(WALLS + CLOTHES)) * rng.uniform(0.6, 1.1)
    pixels = pixels * rng.uniform(0.75, 1.1) * rng.uniform(0.95, 1.05, 3)
    pixels += rng.normal(0, rng.uniform(0.5, 4.0), pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)), faces


def annotation(name: str, scene: Image.Image, faces: list[Marked]) -> bytes:
    """PASCAL VOC XML of a scene."""
    objects = "".join(
        f"  <object>\n    <name>{escape(face.label)}</name>\n    <bndbox>"
        + "".join(
            f"<{key}>{edge}</{key}>" for key, edge in zip(("xmin", "ymin", "xmax", "ymax"), face.box, strict=True)
        )
        + "</bndbox>\n  </object>\n"
        for face in faces
    )
    return (
        f"<annotation>\n  <filename>{name}</filename>\n  <size><width>{scene.width}</width>"
        f"<height>{scene.height}</height><depth>3</depth></size>\n{objects}</annotation>\n"
    ).encode()


def draw_members(number: int, seed: int, size: int) -> list[tuple[str, bytes]]:
    """The archive members of a scene: its JPEG and its annotation."""
    scene, faces = draw_scene(seed, number, size)
    jpeg = io.BytesIO()
    scene.save(jpeg, "JPEG", quality=90)
    name = f"{number:05d}"
    return [
        (f"images/{name}.jpg", jpeg.getvalue()),
        (f"annotations/{name}.xml", annotation(f"{name}.jpg", scene, faces)),
    ]


class SyntheticScenes(Dataset):
    """How many scenes to draw, the longer side of each in pixels, and which."""

    source: Literal["synthetic_scenes"]
    images: Annotated[int, Field(ge=10)]
    size: Annotated[int, Field(ge=64, le=1024)]
    seed: Seed = 0


def fetch(dataset: SyntheticScenes, destination: Path) -> dict[str, str | int | None]:
    """Draw `dataset.images` scenes; a larger dataset begins with a smaller one."""
    draw = functools.partial(draw_members, seed=dataset.seed, size=dataset.size)
    work = (joblib.delayed(draw)(number) for number in range(dataset.images))
    drawn = joblib.Parallel(n_jobs=joblib.cpu_count(), batch_size=4, return_as="generator")(work)
    members = (member for scene in counted(drawn, "draw", dataset.images, "scenes") for member in scene)
    write_archive(destination, members)
    return {"name": "scenes drawn by facemask", "version": None, "licence": "MIT"}
