"""What `.[predict]` installs: find faces, label them, draw and serve."""
