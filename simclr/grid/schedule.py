"""Who does what next, while a grid runs: one pure object that any runner can ask, with no clock, file or process in it.

The policy, for a worker that is free:

1. A pretraining that nobody has begun, in the plan's order.
2. Else a probe of the network that this worker trained or probed last.
3. Else a probe of a finished network that nobody is at; else of any finished one.
4. Else nothing yet: all that is left waits for networks that others are making.

Why: a pretraining takes minutes to days and a probe seconds, so the end of the grid is set by the last pretraining to
be begun. With rule 1 that is as early as can be, and the short probes fill whatever is left over at the ends, as in
longest-first scheduling (Graham 1969: within a third of the shortest time). Rule 2 is what jug does: who computed a
thing has it at hand, its files are in that machine's cache, and on machines without a common disk nobody else has it at
all. Rule 3 spreads the rest. Rule 4 is the only wait, and it comes when every pretraining has been begun: two workers
can be at one pretraining only after that, and never to train it.
"""

from __future__ import annotations

from collections import deque

from simclr.grid.plan import STARTS, Abandoned, Making, Plan, Planned, Published, Standing, State


class Schedule:
    """What is left of a plan, as the runner reports what happens. Each call takes constant time.

    >>> from simclr.grid.plan import Facts, plan
    >>> schedule = Schedule(plan([], Facts()))
    >>> schedule.next("worker 1") is None, schedule.over
    (True, True)
    """

    def __init__(self, plan: Plan) -> None:
        self._cells = {each.name: each for each in plan.left}
        self._probes: dict[str, deque[Planned]] = {}
        self._unstarted: deque[str] = deque()
        self._ready: dict[str, None] = {}
        """Finished networks with probes left, in order."""
        self._elsewhere: dict[str, None] = {}
        self._training: set[str] = set()
        self._running: dict[str, str] = {}
        self._at: dict[str, int] = {}
        """How many workers are at each pretraining."""
        self._last: dict[str, str] = {}
        self._waiting = len(self._cells)
        for each in plan.left:
            self._probes.setdefault(each.key, deque()).append(each)
        following = {each.key for each in plan.left if each.state in STARTS}
        self._unstarted.extend(each.key for each in plan.left if each.state in STARTS)
        for each in plan.left:
            if each.state is State.WAITS_FOR:
                self._elsewhere[each.key] = None
            elif each.key not in following:
                self._ready[each.key] = None

    def next(self, worker: str) -> Planned | None:
        """The cell that this worker should do now; None where it has to wait, or where there is nothing left."""
        if self._unstarted:
            key = self._unstarted.popleft()
            self._training.add(key)
            return self._hand_out(key, worker)
        if (last := self._last.get(worker)) in self._ready:
            return self._hand_out(str(last), worker)
        # A few finished networks are being probed at a time, as many as there are workers, so this looks at few.
        free = next((key for key in self._ready if not self._at.get(key)), next(iter(self._ready), None))
        return self._hand_out(free, worker) if free else None

    def finished(self, name: str) -> None:
        """A cell is measured; its network is there for the others."""
        key = self._leave(name)
        if key in self._training:
            self._publish(key)

    def failed(self, name: str, network: bool = False) -> tuple[Planned, ...]:
        """A cell failed of itself: not to be tried again here.

        Args:
            name: the cell's.
            network: whether its network was there by then.

        Returns:
            The cells given up with it, to be recorded as failed: those of a pretraining that cannot be made. The same
            configuration fails in the same way, so each of them would only repeat it.
        """
        key = self._leave(name)
        if key not in self._training:
            return ()
        if network:
            self._publish(key)
            return ()
        self._training.discard(key)
        given_up = tuple(self._probes.pop(key, ()))
        self._waiting -= len(given_up)
        return given_up

    def lost(self, name: str) -> None:
        """A cell's worker died or was stopped: the cell goes back to where it came from, before the others."""
        key = self._leave(name)
        self._put_back(key, name)
        if key in self._training:
            self._training.discard(key)
            self._unstarted.appendleft(key)
        else:
            self._ready[key] = None

    def held(self, name: str) -> None:
        """A cell found its pretraining in the hands of somebody outside this grid: it waits, its worker is free."""
        key = self._leave(name)
        self._put_back(key, name)
        self._training.discard(key)
        self._ready.pop(key, None)
        self._elsewhere[key] = None

    def news(self, key: str, standing: Standing | None) -> None:
        """How a pretraining that somebody else was making stands now; None: it is gone without a trace."""
        if key not in self._elsewhere or isinstance(standing, Making):
            return
        del self._elsewhere[key]
        if isinstance(standing, Published):
            self._publish(key)
        else:
            assert standing is None or isinstance(standing, Abandoned)
            self._unstarted.append(key)

    @property
    def elsewhere(self) -> tuple[str, ...]:
        """Keys of the pretrainings that others are making: what to look for while a worker has to wait."""
        return tuple(self._elsewhere)

    @property
    def running(self) -> dict[str, str]:
        """The worker of each cell that is running."""
        return dict(self._running)

    @property
    def over(self) -> bool:
        """Whether nothing is running and nothing is left."""
        return not self._running and not self._waiting

    def _hand_out(self, key: str, worker: str) -> Planned:
        each = self._probes[key].popleft()
        if not self._probes[key]:
            self._ready.pop(key, None)
        self._waiting -= 1
        self._running[each.name] = worker
        self._at[key] = self._at.get(key, 0) + 1
        self._last[worker] = key
        return each

    def _leave(self, name: str) -> str:
        del self._running[name]
        key = self._cells[name].key
        self._at[key] -= 1
        return key

    def _put_back(self, key: str, name: str) -> None:
        self._probes.setdefault(key, deque()).appendleft(self._cells[name])
        self._waiting += 1

    def _publish(self, key: str) -> None:
        self._training.discard(key)
        if self._probes.get(key):
            self._ready[key] = None
