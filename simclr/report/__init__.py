"""The report: from what lies under a root to the answer in words, a table, pictures and a page.

``python -m simclr.report [--root DIR]`` writes ``<root>/report/``; a grid calls :func:`write` at its end. Nothing but
files under the root is read, nothing is fatal, and TensorFlow is not needed.
"""

from simclr.report.write import Report, write

__all__ = ["Report", "write"]
