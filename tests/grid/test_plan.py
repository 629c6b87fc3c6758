"""The plan of a grid as a specification: every cell once, pretrainings first, reasons that can be read."""

from __future__ import annotations

import io
import json
import sys
from itertools import product
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from simclr.config.cell import ImpossibleCell, coordinates
from simclr.config.compose import Composer
from simclr.config.validation import as_yaml
from simclr.foundation.errors import InvalidInput
from simclr.grid.estimate import estimate, makespan, measured
from simclr.grid.plan import (
    Facts,
    Plan,
    Point,
    State,
    finished_cells,
    identify,
    plan,
)
from simclr.grid.table import print_plan, watch_status
from simclr.records import result
from simclr.records.status import Doing, Status
from simclr.store.explain import Availability, Stage

DIGEST = "d" * 64
QUICK = "pretrain.precision=float32"


def published():
    return Availability(Stage.THERE)


def making(by, epoch=None):
    return Availability(Stage.MAKING, by=by, epoch=epoch)


def abandoned(epoch, by=""):
    return Availability(Stage.UNFINISHED, by=by, epoch=epoch)


def point(key, probe, impossible=False):
    """A made-up point: its pretraining and its probe named by letters."""
    name = f"{key}{probe}"
    if impossible:
        return Point((name,), f"{name}!", None, "no such layer")
    config = SimpleNamespace(pretrain=SimpleNamespace(epochs=10))
    return Point((name,), name, SimpleNamespace(key=key, name=name, config=config))


def names(planned):
    return [each.name for each in planned.cells]


def states(planned):
    return {each.name: each.state for each in planned.cells}


@pytest.fixture(scope="module")
def grid():
    """The three by three grid of heads and layers, of which three are impossible."""
    heads, layers = ("zero_relu", "one_relu", "two_relu"), (-2, -4, -6)
    overrides = [(f"head={head}", f"probe.layer={layer}", QUICK) for head, layer in product(heads, layers)]
    return identify(overrides, map(Composer(), overrides), lambda config: (DIGEST, None))


def test_the_grid_of_nine_is_three_pretrainings_three_more_probes_and_three_impossible_cells(grid):
    planned = plan(grid, Facts())
    assert planned.counts == {State.RUN: 3, State.PROBE_ONLY: 3, State.PRUNED: 3}
    assert planned.pretrainings == 3
    assert [each.state for each in planned.cells] == [State.RUN] * 3 + [State.PROBE_ONLY] * 3 + [State.PRUNED] * 3
    assert all("probe.layer=-" in each.reason for each in planned.cells[6:])


def test_each_state_says_why():
    points = [point("a", 1), point("a", 2), point("b", 1), point("c", 1), point("d", 1), point("e", 1, impossible=True)]
    facts = Facts(
        frozenset(), {"b": published(), "c": making("host:7", 3), "d": abandoned(4, "host:9"), "x": published()}
    )
    planned = plan([*points, point("f", 1)], Facts(frozenset({"f1"}), facts.pretrainings))
    told = {each.name: (each.state, each.reason) for each in planned.cells}
    assert told == {
        "a1": (State.RUN, "makes pretraining a"),
        "d1": (State.TAKES_OVER, "pretraining d at epoch 4 of 10, left of host:9"),
        "b1": (State.PROBE_ONLY, "pretraining b is there"),
        "a2": (State.PROBE_ONLY, "after a1, which makes pretraining a"),
        "c1": (State.WAITS_FOR, "pretraining c, made by host:7 (epoch 3 of 10)"),
        "f1": (State.DONE, "its result is there"),
        "e1!": (State.PRUNED, "no such layer"),
    }
    assert names(planned) == list(told)
    assert next(each for each in planned.cells if each.name == "d1").epoch == 4


def test_a_pretraining_that_was_left_before_its_first_checkpoint_starts_over():
    assert states(plan([point("a", 1)], Facts(pretrainings={"a": abandoned(0, "host")}))) == {"a1": State.RUN}


def test_done_cells_run_again_only_where_that_is_asked_for():
    facts = Facts(frozenset({"a1"}), {"a": published()})
    assert states(plan([point("a", 1)], facts)) == {"a1": State.DONE}
    assert states(plan([point("a", 1)], facts, rerun=True)) == {"a1": State.PROBE_ONLY}


def test_a_done_cell_starts_no_pretraining():
    planned = plan([point("a", 1), point("a", 2)], Facts(frozenset({"a1"})))
    assert states(planned) == {"a2": State.RUN, "a1": State.DONE}


def test_points_that_mean_the_same_cell_are_one_cell(grid):
    planned = plan([*grid, *grid], Facts())
    assert planned.counts == plan(grid, Facts()).counts
    assert all(len(each.points) == 2 for each in planned.cells)


def test_two_cells_of_one_name_are_refused():
    one, other = point("a", 1), point("b", 1)
    with pytest.raises(InvalidInput, match="two cells of one name"):
        plan([one, Point(other.overrides, one.name, other.cell)], Facts())


def test_a_check_of_the_data_prunes_too():
    def check(config):
        raise ImpossibleCell("probe.label_fraction=0.1: leaves a class without an image")

    (found,) = identify([()], map(Composer(), [()]), lambda config: (DIGEST, None), check)
    assert found.cell is None
    assert "leaves a class" in found.reason


POINTS = st.lists(st.builds(point, st.sampled_from("abcdef"), st.integers(1, 4), st.booleans()), max_size=30)
STANDINGS = st.one_of(
    st.builds(published), st.builds(making, st.just("other")), st.builds(abandoned, st.integers(0, 9))
)
FACTS = st.builds(
    Facts,
    st.frozensets(st.builds("{}{}".format, st.sampled_from("abcdef"), st.integers(1, 4)), max_size=6),
    st.dictionaries(st.sampled_from("abcdef"), STANDINGS),
)


@given(POINTS, FACTS, st.booleans())
def test_every_cell_is_planned_exactly_once_and_the_order_is_stable(points, facts, rerun):
    planned = plan(points, facts, rerun)
    assert sorted(names(planned)) == sorted({each.name for each in points})
    assert planned == plan(points, facts, rerun)
    again = plan([each for planned_cell in planned.cells for each in planned_cell.points], facts, rerun)
    assert names(again) == names(planned)


@given(POINTS, FACTS)
def test_each_missing_pretraining_is_begun_by_one_cell_before_any_probe(points, facts):
    left = plan(points, facts).left
    begun = [each.key for each in left if each.state in (State.RUN, State.TAKES_OVER)]
    assert len(begun) == len(set(begun))
    assert begun == [each.key for each in left[: len(begun)]]
    assert {each.key for each in left} - set(begun) <= set(facts.pretrainings)


def test_the_makespan_of_three_pretrainings_on_two_workers():
    points = [point(key, probe) for key in "abc" for probe in (1, 2)]
    planned = plan(points, Facts())
    assert makespan(planned, 2, lambda each: 100 if each.state is State.RUN else 10) == 220
    assert makespan(planned, 1, lambda each: 100 if each.state is State.RUN else 10) == 330


def test_a_hundred_thousand_cells_are_scheduled_quickly():
    points = [point(f"{key} ", probe) for key in range(1_000) for probe in range(20)]
    planned = plan(points, Facts())
    assert makespan(planned, 7, lambda each: 1.0) == pytest.approx(20_000 / 7, abs=20)  # a job is twenty of them


def write_record(root, cell, seconds=60.0, status="finished", key=None, gpus=0):
    """A record as the experiment writes it, as far as the plan reads it."""
    record = {
        **result.blank(coordinates(cell.config)),
        "status": status,
        "pretraining": {
            "key": key or cell.key,
            "reused": False,
            "epochs": 40,
            "seconds": seconds,
            "precision": "float32",
        },
        "data": {"digest": DIGEST, "train": 1347},
        "seconds": seconds + 10,
        "host": {"threads": 2, "cpus": 2, "gpus": gpus},
    }
    network = root / "pretrained" / cell.key
    network.mkdir(parents=True, exist_ok=True)
    (network / "network.weights.h5").write_bytes(b"x" * 2**20)
    return result.write(root, cell.name, record, as_yaml(cell.config))


def test_a_cell_is_done_when_its_own_record_says_that_it_finished(grid, tmp_path):
    cells = [each.cell for each in grid if each.cell]
    write_record(tmp_path, cells[0])
    write_record(tmp_path, cells[1], status="failed")
    write_record(tmp_path, cells[2], key="0" * 16)
    write_record(tmp_path, cells[3]).write_text("{")
    assert finished_cells(tmp_path, grid) == {cells[0].name}
    assert finished_cells(tmp_path / "nowhere", grid) == frozenset()


def test_the_estimate_comes_from_measured_runs_and_says_which(grid, tmp_path):
    cells = [each.cell for each in grid if each.cell]
    write_record(tmp_path, cells[0])
    planned = plan(grid, Facts(finished_cells(tmp_path, grid), {cells[0].key: published()}))
    found = estimate(planned, measured(tmp_path))
    assert (planned.pretrainings, len(planned.left)) == (2, 5)
    assert found.records == (cells[0].name,)
    assert found.seconds == pytest.approx(2 * 70 + 3 * 10)
    assert found.machine_hours == pytest.approx(170 / 3600)
    assert found.disk_bytes == pytest.approx(2 * 2**20, abs=20_000)
    assert estimate(planned, measured(tmp_path), workers=2, threads=1).seconds == pytest.approx(2 * (70 + 20), abs=1)


def test_what_a_dead_worker_did_is_taken_off(grid, tmp_path):
    cells = [each.cell for each in grid if each.cell]
    write_record(tmp_path, cells[0])
    planned = plan(grid[-1:], Facts(pretrainings={cells[-1].key: abandoned(30)}))
    assert estimate(planned, measured(tmp_path)).seconds == pytest.approx(60 / 4 + 10)


def test_nothing_is_estimated_from_nothing(grid, tmp_path):
    found = estimate(plan(grid, Facts()), measured(tmp_path))
    assert (found.seconds, found.disk_bytes, found.records) == (None, None, ())
    assert found.unknown == ("small_cnn at 16 px",)


def test_the_table_has_each_cell_its_state_its_reason_and_what_it_takes(grid, tmp_path):
    cells = [each.cell for each in grid if each.cell]
    write_record(tmp_path, cells[0])
    planned = plan(grid, Facts(frozenset({cells[0].name})))
    out = io.StringIO()
    print_plan(planned, estimate(planned, measured(tmp_path)), Console(file=out, width=250))
    text = out.getvalue()
    for cell in cells:
        assert cell.name in text
    for part in (
        "done",
        "run ",
        "probe only",
        "pruned",
        "head=one_relu has the layers -1 projection",
        "2 pretrainings",
    ):
        assert part in text
    assert f"as measured in {cells[0].name}" in text
    assert "machine-hours" in text


def test_planning_imports_no_tensorflow():
    import subprocess

    code = (
        "import sys, simclr.grid.table, simclr.config.compose, simclr.grid.estimate; print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_plan_is_a_value():
    assert Plan(()) == Plan(())
    assert json.dumps(Plan(()).counts) == "{}"


def test_the_time_left_is_not_planned_anew_at_every_look(capsys):
    cells, asked = [Status("a-cell", Doing.RUNNING, worker="process 7 on here")], []
    looks = iter([cells, cells, []])

    def left(workers: int) -> float:
        asked.append(workers)
        return 100.0

    watch_status(lambda: next(looks), left)
    assert asked == [1]
    assert "a-cell" in capsys.readouterr().out
