"""The report: from what lies under a root to the answer in words, a table, pictures and a page.

``python -m simclr.report [--root DIR]`` writes ``<root>/report/``; a grid calls :func:`simclr.report.write.write` at
its end. Nothing but files under the root is read, nothing is fatal, and TensorFlow is not needed.
"""

# Nothing is imported here: an answer draws nothing, and need not wait for what does.
