"""From archives of photos to labelled faces."""
