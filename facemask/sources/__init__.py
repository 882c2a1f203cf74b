"""Where photos come from: one module a source, each with `fetch(dataset, destination)`."""

from facemask.sources import demo, local

SOURCES = {"demo": demo.fetch, "archive": local.fetch}
