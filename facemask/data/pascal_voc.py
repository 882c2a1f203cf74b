"""PASCAL VOC annotations: an XML file a photo with a labelled box a face."""

from defusedxml import DefusedXmlException, ElementTree

from facemask.core.errors import UserError
from facemask.data.boxes import Box


def parse(xml: bytes) -> list[tuple[str, Box]]:
    """Label and box of every object.

    Raises
    ------
    UserError
        If it is not a PASCAL VOC annotation; the message is the reason.
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
    except (ElementTree.ParseError, DefusedXmlException, LookupError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"no PASCAL VOC annotation: {error}") from None
