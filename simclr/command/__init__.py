"""The shell: what is typed, exit codes, errors of one line, and Hydra's way in.

:mod:`shell <simclr.command.shell>` is the way around ``run.py``; the others are the command lines of
``python -m simclr.sweep``, ``python -m simclr.store`` and ``python -m simclr.report``, whose rooms hold nothing of them
but a file ``__main__``. Nothing imports this room but those files and ``run.py``.
"""
