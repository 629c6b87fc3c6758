"""Where a search keeps its trials: Optuna's journal, which many processes write to."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from simclr.foundation import work
from simclr.foundation.files import share


def journal(folder: Path) -> JournalStorage:
    """The journal of the search whose state lies in ``folder``, made where it is missing."""
    file = folder / "journal.log"
    if not file.exists():
        file.touch()
        share(file)
    return JournalStorage(JournalFileBackend(str(file), lock_obj=_JournalLock(folder / ".journal")))


class _JournalLock(JournalFileOpenLock):
    """Optuna's own locks outlive a killed holder by half a minute; this one dies with it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self._folder, self._inside = folder, ExitStack()

    def acquire(self) -> bool:
        self._inside.enter_context(work.held(self._folder))
        return True

    def release(self) -> None:
        self._inside.close()
