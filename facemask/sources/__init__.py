"""Where photos come from: one module a source.

Each has `fetch(dataset, destination)`, which writes a zip and returns where it is from: its name,
version and licence, as far as they are known.
"""

from facemask.sources import demo, kaggle, local

SOURCES = {"demo": demo.fetch, "archive": local.fetch, "kaggle": kaggle.fetch}
