"""Parameters that all sources have in common."""

from typing import Annotated, Literal

from pydantic import Field

from facemask.core.params import Section


class Dataset(Section):
    """How a dataset is used, and which content it must have; each source adds its own parameters.

    `use` is split (into train, validation and test), train (trained on as a whole) or test (an external test set).
    """

    use: Literal["split", "train", "test"]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None

    @property
    def pinned(self) -> str | None:
        """A name of this exact content, or None: then it is fetched again whenever `datasets` changes."""
        return None
