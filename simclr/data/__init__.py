"""The images: what is there, what it is (a digest of the content), and the pixels as arrays.

Three questions, from the cheapest on::

    found = catalogue(config, cache)   # lists names; decodes, writes and downloads nothing
    content = digest(found, cache)     # SHA-256 of the content, wherever it lies
    images = load(config, cache)       # downloads where needed, decodes once, maps the arrays into memory; or, of a
                                       # set that is too large for that, decodes each image when it is looked at

``cache`` is the folder ``<root>/data``: verified downloads, remembered hashes and decoded images lie below it.
"""

from simclr.data.content import digest
from simclr.data.images import AnySplit, Images, ImageSplit, load
from simclr.data.parts import Catalogue, Split
from simclr.data.sources import catalogue, reference
from simclr.data.stream import Chunk, StreamedSplit

__all__ = [
    "AnySplit",
    "Catalogue",
    "Chunk",
    "ImageSplit",
    "Images",
    "Split",
    "StreamedSplit",
    "catalogue",
    "digest",
    "load",
    "reference",
]
