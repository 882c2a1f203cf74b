"""Faces marked in scenes: PASCAL VOC, an XML file a photo with a labelled box a face."""

from typing import NamedTuple

from defusedxml import DefusedXmlException, ElementTree

from facemask.errors import UserError


class Box(NamedTuple):
    """A region of a photo, in pixels from its upper left corner; right and bottom are outside."""

    left: int
    top: int
    right: int
    bottom: int

    def widened(self, margin: float, width: int, height: int) -> "Box":
        """With a share of its size added on every side, as far as the photo of width x height goes."""
        across, down = margin * (self.right - self.left), margin * (self.bottom - self.top)
        return Box(
            max(0, round(self.left - across)),
            max(0, round(self.top - down)),
            min(width, round(self.right + across)),
            min(height, round(self.bottom + down)),
        )


def parse(xml: bytes) -> list[tuple[str, Box]]:
    """Label and box of every object.

    Raises
    ------
    UserError
        If it is not such a file; the message is the reason.
    """
    try:
        objects = ElementTree.fromstring(xml).findall("object")
        return [
            (
                item.findtext("name", ""),
                Box(*(round(float(item.findtext(f"bndbox/{key}"))) for key in ("xmin", "ymin", "xmax", "ymax"))),
            )
            for item in objects
        ]
    except (ElementTree.ParseError, DefusedXmlException, TypeError, ValueError) as error:
        raise UserError(f"no PASCAL VOC annotation: {error}") from None
