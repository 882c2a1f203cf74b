"""Tracking of faces through a video, with labels that do not flicker."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from facemask.data.boxes import Box, matches
from facemask.inference.recognition import LabelledFace

MIN_IOU = 0.3
NEW_WEIGHT = 0.3
FRAMES_TO_CHANGE = 5
FRAMES_TO_FORGET = 15


@dataclass
class Track:
    """A face over time.

    Attributes
    ----------
    probabilities : ndarray (classes,) or None
        Exponential moving average over the frames; None while the face was too small to classify.
    label : str or None
        By the decision rule on the average; changes after `FRAMES_TO_CHANGE` frames in a row with another label.
    seen, missing : int
        Frames with the face, and frames since it was last detected.
    """

    number: int
    box: Box
    classes: list[str]
    probabilities: np.ndarray | None = None
    label: str | None = None
    seen: int = 0
    missing: int = 0
    _against: int = field(default=0, repr=False)

    @property
    def probability(self) -> float | None:
        """The average probability of the label."""
        if self.label is None or self.probabilities is None:
            return None
        return float(self.probabilities[self.classes.index(self.label)])

    def update(self, face: LabelledFace, decide: Callable[[np.ndarray], np.ndarray]) -> bool:
        """Add the face of the next frame; return whether the label changes."""
        self.box, self.seen, self.missing = face.box, self.seen + 1, 0
        if face.label is None:
            return False
        new = np.array([face.probabilities[name] for name in self.classes])
        old = new if self.probabilities is None else self.probabilities
        self.probabilities = old + NEW_WEIGHT * (new - old)
        label = self.classes[decide(self.probabilities[None])[0]]
        self._against = self._against + 1 if label != self.label else 0
        changes = self.label is None or self._against >= FRAMES_TO_CHANGE
        if changes:
            self.label, self._against = label, 0
        return changes


class Tracker:
    """Matches the faces of successive frames by IoU, the highest first."""

    def __init__(self, classes: list[str], decide: Callable[[np.ndarray], np.ndarray]):
        self.classes, self.decide = classes, decide
        self._tracks: list[Track] = []
        self._numbers = 0

    def update(self, faces: list[LabelledFace]) -> tuple[list[Track], list[tuple[str, Track]]]:
        """Add the faces of the next frame.

        Returns
        -------
        (visible, events)
            The tracks of the faces, and events: `appeared`, once a face was in `FRAMES_TO_CHANGE` frames; `changed`,
            when its label changed after that; `left`, once it was missing for `FRAMES_TO_FORGET` frames.
        """
        events = []
        pairs = matches([track.box for track in self._tracks], [face.box for face in faces], MIN_IOU)
        following = {other: self._tracks[one] for one, other in pairs}
        for track in self._tracks:
            track.missing += 1
        visible = [following.get(number) or self._start(face) for number, face in enumerate(faces)]
        for track, face in zip(visible, faces, strict=True):
            changed = track.update(face, self.decide)
            if track.seen == FRAMES_TO_CHANGE:
                events.append(("appeared", track))
            elif changed and track.seen > FRAMES_TO_CHANGE:
                events.append(("changed", track))
        return visible, events + self._forget(FRAMES_TO_FORGET)

    def end(self) -> list[tuple[str, Track]]:
        """End all tracks; return their events."""
        return self._forget(0)

    def _start(self, face: LabelledFace) -> Track:
        self._numbers += 1
        self._tracks.append(Track(self._numbers, face.box, self.classes))
        return self._tracks[-1]

    def _forget(self, frames: int) -> list[tuple[str, Track]]:
        gone = [track for track in self._tracks if track.missing >= frames]
        self._tracks = [track for track in self._tracks if track.missing < frames]
        return [("left", track) for track in gone if track.seen >= FRAMES_TO_CHANGE]
