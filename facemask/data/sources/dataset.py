"""What every source of photos is told."""

from typing import Annotated, Literal

from pydantic import Field

from facemask.core.params import Section


class Dataset(Section):
    """What a dataset is for, and which content it must have; each source adds where it is.

    `use` is split (into train, validation and test), train (trained on as a whole) or test (an external test set).
    """

    use: Literal["split", "train", "test"]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None

    @property
    def pinned(self) -> str | None:
        """What names this content for ever, or None: then it is brought anew whenever datasets change."""
        return None
