"""Random and Bayesian search over a sweep's space, its state on disk: many processes, any of which may die, share it.

``<root>/sweeps/<name>/`` holds Optuna's journal and, for each trial that is being run, the claim of its runner
(:mod:`simclr.foundation.work`), which is over when that one dies. So a trial that is running by the journal and claimed
by nobody was lost: the next one who asks gets it again, with the same values.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from simclr.config import Config, Decides, settings
from simclr.foundation import work
from simclr.foundation.errors import InvalidInput
from simclr.foundation.files import make_folder, share
from simclr.sweep.distribution import Categorical, Constant, Distribution, IntUniform, LogUniform, Uniform
from simclr.sweep.space import Sweep, should_stop, text_of

ATTEMPTS = 3
"""So often is a trial handed out; one that its runner did not survive that often has killed it."""

STARTUP_TRIALS = 10
"""A Bayesian search draws so many at random before it has something to learn from."""

MONITOR = "monitor/knn_accuracy"


@dataclass(frozen=True)
class Trial:
    """A point that a search proposes."""

    number: int
    overrides: tuple[str, ...]
    attempt: int = 1


class Search:
    """Proposes points and learns from what comes of them.

    Args:
        sweep: with method ``random`` or ``bayes``.
        root: everything written lands below it.
        seed: of the search; the same seed and the same results propose the same points.

    Raises:
        InvalidInput: a sweep of this name was begun there with other parameters.
    """

    def __init__(self, sweep: Sweep, root: str | Path, seed: int = 0) -> None:
        self.sweep = sweep
        self.folder = folder(root, sweep.name)
        self._seed = seed
        self._claims: dict[int, work.Claim] = {}
        maximize = sweep.metric is None or sweep.metric.maximize
        self._sign = 1 if maximize else -1  # Optuna takes looks for values of the metric, and better for better
        make_folder(self.folder)
        # Each creation and each trial is told of at length otherwise.
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._storage = _journal(self.folder)
        with work.held(self.folder / ".sweep"):
            self._study = optuna.create_study(
                storage=self._storage,
                study_name=sweep.name,
                direction="maximize" if maximize else "minimize",
                load_if_exists=True,
            )
            begun_as = self._study.user_attrs.get("space")
            if begun_as is None:
                self._study.set_user_attr("space", _space(sweep))
            elif begun_as != _space(sweep):
                raise InvalidInput(
                    f"name={sweep.name}: this sweep was begun with other parameters or overrides; "
                    f"give it another name, or remove {self.folder} to begin anew"
                )

    def ask(self) -> Trial | None:
        """The next trial: one that was lost, else a new one; it is this process's until told of or dead.

        Returns:
            None where ``run_cap`` or the metric's target is reached; others may still be running theirs.
        """
        with work.held(self.folder / ".sweep"):
            trials = self._study.get_trials(deepcopy=False)
            for each in trials:
                if each.state is TrialState.RUNNING and (lost := self._take_over(each)) is not None:
                    return lost
            if (self.sweep.run_cap is not None and len(trials) >= self.sweep.run_cap) or self._reached(trials):
                return None
            self._study.sampler = self._sampler(len(trials))
            trial = self._study.ask()
            self._claim(trial.number)
            return self._proposed(trial, 1)

    def report(self, number: int, history: Sequence[float]) -> bool:
        """Tell of a running trial's looks so far (``monitor/knn_accuracy``); any process may.

        ``history`` has all from its beginning; what is not finite is no look.

        Returns:
            Whether it should be stopped early; then call :meth:`stopped` once it is.
        """
        trial = self._trial(number)
        looks = [look for look in history if math.isfinite(look)]
        for step in range(len(trial.intermediate_values), len(looks)):
            self._storage.set_trial_intermediate_value(trial._trial_id, step, self._sign * looks[step])
        if self.sweep.early_terminate is None:
            return False
        of_all = {each.number: self._looks(each) for each in self._study.get_trials(deepcopy=False)}
        return should_stop(of_all.pop(number), list(of_all.values()), self.sweep.early_terminate)

    def finished(self, number: int, record: Mapping[str, Any]) -> None:
        """A trial's cell is finished, with this record; a metric of the monitor's is the last look that was told of."""
        name = self.sweep.metric.name if self.sweep.metric else ""
        looks = self._looks(self._trial(number))
        value = (looks[-1] if looks else None) if name == MONITOR else value_of(record, name)
        if name and (value is None or not math.isfinite(value)):
            self.failed(number)
        else:
            self._tell(number, TrialState.COMPLETE, 0.0 if value is None else value)

    def failed(self, number: int) -> None:
        """A trial's cell failed of itself, or is impossible: it counts, and teaches nothing."""
        self._tell(number, TrialState.FAIL)

    def stopped(self, number: int) -> None:
        """A trial was stopped early."""
        self._tell(number, TrialState.PRUNED)

    def given_back(self, number: int) -> None:
        """A trial was interrupted, by Ctrl-C say: the next one who asks gets it again, as if nobody had tried."""
        trial = self._trial(number)
        attempt = trial.user_attrs.get("attempt", 1)
        self._storage.set_trial_user_attr(trial._trial_id, "attempt", attempt - 1)
        self._release(number)

    def lost(self, number: int) -> None:
        """A trial's runner is gone without a record: the next one who asks gets it again, a few times."""
        self._release(number)

    def _take_over(self, trial: FrozenTrial) -> Trial | None:
        if trial.number in self._claims or not self._claim(trial.number):
            return None
        attempt = trial.user_attrs.get("attempt", 0) + 1
        if attempt > ATTEMPTS:
            self.failed(trial.number)
            return None
        self._study.sampler = self._sampler(trial.number)
        return self._proposed(optuna.trial.Trial(self._study, trial._trial_id), attempt)

    def _proposed(self, trial: optuna.trial.Trial, attempt: int) -> Trial:
        varied = (
            f"{each.name}={text_of(_drawn(trial, each.name, each.distribution))}" for each in self.sweep.parameters
        )
        overrides = (*varied, *self.sweep.overrides)
        trial.set_user_attr("attempt", attempt)
        return Trial(trial.number, overrides, attempt)

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """A sampler of this trial's own, so that processes that search together draw different points."""
        seed = int(np.random.SeedSequence((self._seed, number)).generate_state(1)[0])
        if self.sweep.method == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        # Trials that are still running count as bad ones, so that two processes do not try the same place.
        return optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=STARTUP_TRIALS, multivariate=True, constant_liar=True
        )

    def _reached(self, trials: Sequence[FrozenTrial]) -> bool:
        metric = self.sweep.metric
        values = [each.value for each in trials if each.state is TrialState.COMPLETE and each.value is not None]
        if metric is None or metric.target is None or not values:
            return False
        return max(values) >= metric.target if metric.maximize else min(values) <= metric.target

    def _looks(self, trial: FrozenTrial) -> list[float]:
        return [self._sign * value for _, value in sorted(trial.intermediate_values.items())]

    def _trial(self, number: int) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[number]

    def _tell(self, number: int, state: TrialState, value: float | None = None) -> None:
        # One who was taken for dead may come back and tell of what is told already.
        self._study.tell(number, value, state=state, skip_if_finished=True)
        self._release(number)

    def _claim(self, number: int) -> bool:
        if (claim := work.take(self.folder / f".trial-{number}")) is not None:
            self._claims[number] = claim
        return claim is not None

    def _release(self, number: int) -> None:
        if (claim := self._claims.pop(number, None)) is not None:
            claim.end()


def folder(root: str | Path, name: str) -> Path:
    """Where the state of a search lies."""
    return Path(root) / "sweeps" / (re.sub(r"[^\w.-]+", "-", name).strip(".-") or "sweep")


def value_of(record: Mapping[str, Any], metric: str) -> float | None:
    """A metric's value in a cell's record, its mean where it was measured several times.

    >>> value_of({"probe": {"test_accuracy": {"mean": 0.9, "std": 0.1}}}, "probe/test_accuracy")
    0.9
    """
    found: Any = record
    for part in metric.split("/"):
        found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, Mapping):
        found = found.get("mean")
    return float(found) if isinstance(found, (int, float)) else None


def _drawn(trial: optuna.trial.Trial, name: str, distribution: Distribution) -> Any:
    """The value that a trial draws, or drew before.

    From Optuna's own distribution where it has the same one, so that a model of it knows what is near what; else of a
    uniform number, from which the value is made as the distribution is defined.
    """
    match distribution:
        case Constant(value):
            return value
        case Uniform(low, high):
            return trial.suggest_float(name, low, high)
        case LogUniform(low, high):
            return trial.suggest_float(name, low, high, log=True)
        case IntUniform(low, high):
            return trial.suggest_int(name, low, high)
        case Categorical(several, None) if len(set(map(text_of, several))) == len(several):
            by_text = {text_of(value): value for value in several}
            return by_text[trial.suggest_categorical(name, tuple(by_text))]
    return distribution.at(trial.suggest_float(name, 0.0, 1.0))


def _journal(folder: Path) -> JournalStorage:
    """Optuna's journal, which many processes write to, made where it is missing."""
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


def _space(sweep: Sweep) -> str:
    """A hash of all that makes two trials comparable; where and how the work is done may change in between."""
    anywhere = {key for key, field, _ in settings(Config) if field.metadata["decides"] is Decides.NOTHING}
    kept = [text for text in sweep.overrides if text.partition("=")[0].lstrip("+~") not in anywhere]
    kept = sorted(text for text in kept if not text.startswith("hydra"))
    varied = sorted((each.name, repr(each.distribution)) for each in sweep.parameters)
    return hashlib.sha256(
        repr((sweep.method, sweep.metric and (sweep.metric.name, sweep.metric.maximize), varied, kept)).encode()
    ).hexdigest()
