"""The images: what is there, what it is (a digest of the content), and the pixels as arrays.

Three questions, from the cheapest on::

    found = catalogue(config, cache)   # lists names; decodes, writes and downloads nothing
    content = digest(found, cache)     # SHA-256 of the content, wherever it lies
    images = load(config, cache)       # downloads where needed, decodes once, maps the arrays into memory

``cache`` is the folder ``<root>/data``: verified downloads, remembered hashes and decoded images lie below it.
"""

from simclr.data.content import digest
from simclr.data.images import Images, ImageSplit, load
from simclr.data.listing import Catalogue, Split
from simclr.data.sources import catalogue, reference

__all__ = ["Catalogue", "ImageSplit", "Images", "Split", "catalogue", "digest", "load", "reference"]
