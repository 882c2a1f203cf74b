"""From bytes to labelled faces."""
