"""Where a search keeps its trials: Optuna's journal, which many processes write to."""

from __future__ import annotations

import os
from pathlib import Path

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from simclr.foundation import lock


def journal(folder: Path) -> JournalStorage:
    """The journal of the search whose state lies in ``folder``, made where it is missing."""
    return JournalStorage(
        JournalFileBackend(str(folder / "journal.log"), lock_obj=_JournalLock(folder / "journal.lock"))
    )


class _JournalLock(JournalFileOpenLock):
    """Optuna's own locks outlive a killed holder by half a minute; this one dies with it."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        self._descriptor = -1

    def acquire(self) -> bool:
        self._descriptor = lock.wait(self._path)
        return True

    def release(self) -> None:
        os.close(self._descriptor)
