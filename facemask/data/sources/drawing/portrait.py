"""A whole portrait, as a camera takes it."""

import numpy as np
from PIL import Image, ImageFilter

from facemask.data.sources.drawing import parts
from facemask.data.sources.drawing.canvas import Canvas
from facemask.data.sources.drawing.masks import Patch, draw_mask, draw_patch
from facemask.data.sources.drawing.person import Head, Person


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
) -> None:
    """Somebody, before whatever the canvas shows already; the parameters are those of `draw_person`."""
    if person.long_hair and not person.bald:
        parts.draw_hair_behind(canvas, head, person)
    parts.draw_body(canvas, head, person, rng)
    parts.draw_ears(canvas, head, person.skin)
    inside = parts.draw_skull(canvas, head, person)
    parts.draw_eyes(canvas, head, person)
    parts.draw_mouth(canvas, head, person, rng)
    parts.draw_nose(canvas, head, person.skin, inside)
    if label != "without_mask":
        draw_mask(canvas, head, rng, label)
    if patch is not None:
        draw_patch(canvas, head, patch)
    if person.glasses:
        parts.draw_glasses(canvas, head, person, rng)
    if not person.bald:
        parts.draw_hair(canvas, head, person, rng)
    if person.hat:
        parts.draw_hat(canvas, head, person)


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
        with_mask, without_mask or incorrect_mask.
    size : int
        Side of the square RGB picture, in pixels.
    patch : Patch, optional
        An occlusion of the face.
    """
    canvas = Canvas(size)
    head = Head(person, canvas.side)
    parts.draw_background(canvas, person, rng)
    draw_figure(canvas, head, person, rng, label, patch)
    return develop(canvas, person.exposure, rng)


def draw_face(rng: np.random.Generator, label: str, size: int) -> Image.Image:
    """Draw a random person of a class; size is the side of the picture in pixels."""
    return draw_person(Person.sample(rng), rng, label, size)
