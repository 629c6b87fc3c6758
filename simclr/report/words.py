"""The answer in words, made from the numbers: what is best, by how much, and whether that is more than noise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from simclr.records.summary import labels_in_words
from simclr.report import documents
from simclr.report.groups import HEAD_WORDS, ORDERS, Grid, Group, shown
from simclr.report.records import Findings
from simclr.report.standing import PIXELS, UNTRAINED, Interval, Panel, Standing, Statement

MOST_NAMED = 4
MINUS = "\u2212"
UNPROBED = "nothing to compare in {root}: no cell has a probe (probe=none)"
NOTHING_YET = "no finished cell in {root}; run one: python run.py head=two_relu probe.layer=-4 root={root}"


@dataclass(frozen=True)
class Answer:
    """What is said about one panel: a headline, and the sentences that support or qualify it."""

    title: str
    headline: str
    sentences: tuple[str, ...]


def answers(grid: Grid, panels: list[Panel], findings: Findings) -> list[Answer]:
    """One answer per panel, the one of most groups first."""
    found = [_of_panel(grid, panel, several=len(panels) > 1) for panel in panels]
    if found and (counted := _counted(findings)):
        first = found[0]
        found[0] = Answer(first.title, first.headline, (*first.sentences, counted))
    return found


def with_interval(value: Interval) -> str:
    """With as many digits as its half width leaves a meaning to.

    >>> with_interval(Interval(0.6123, 0.5812, 0.6434)), with_interval(Interval(0.9587, 0.9487, 0.9687))
    ('0.61 [0.58, 0.64]', '0.959 [0.949, 0.969]')
    """
    width = (value.high - value.low) / 2
    if math.isnan(width):
        return f"{value.mean:.3f}"
    mean, low, high = (f"{each:.{_digits(width)}f}" for each in (value.mean, value.low, value.high))
    return f"{mean} [{low}, {high}]"


def signed(difference: Statement) -> str:
    """``+0.17 [+0.13, +0.21]``, with a true minus sign; a third digit where two would make a zero of something."""
    values = (difference.mean, difference.low, difference.high)
    digits = _digits((difference.high - difference.low) / 2)
    if any(abs(value) < 0.005 for value in values):
        digits = 3
    mean, low, high = (f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", MINUS) for value in values)
    return f"{mean} [{low}, {high}]"


def _digits(width: float) -> int:
    return 2 if width > 0.02 else 3


def _of_panel(grid: Grid, panel: Panel, several: bool) -> Answer:
    best = panel.standings[0]
    sentences = [
        *_certainty(grid, panel, best),
        *_along_axes(grid, panel, best),
        *_documents(panel, best),
        *_caveats(panel),
    ]
    group = best.group
    title = f"{group.data}, {labels_in_words(group.label_fraction)}" if several else group.data
    if group.part != "test":
        title += ", validation images"
    return Answer(title, _headline(grid, panel, best), tuple(sentences))


def _headline(grid: Grid, panel: Panel, best: Standing) -> str:
    """``two_relu probed at the encoder: 0.61 [0.58, 0.64]; +0.17 over the untrained network; ...``."""
    others = len(panel.standings) - 1
    highest = f", the highest of {others + 1}" if others and best.best is None else ""
    parts = [f"{_where(grid, panel, best.group)}: {with_interval(best.accuracy)}{highest}"]
    fine_tuned = best.group.probe == "finetune"  # and so was the untrained network
    untrained = "the same training from its first weights" if fine_tuned else "the untrained network"
    named = {UNTRAINED: untrained, PIXELS: "raw pixels"}
    parts += [_over_baseline(difference, named[baseline]) for baseline, difference in best.over.items()]
    return "; ".join(parts) + "."


def _over_baseline(difference: Statement, baseline: str) -> str:
    if not difference.claimed:
        return f"the difference from {baseline} ({signed(difference)}) is within noise"
    if difference.mean > 0:
        return f"{signed(difference)} over {baseline}"
    return f"{signed(difference)} against {baseline}, which is better"


def _certainty(grid: Grid, panel: Panel, best: Standing) -> Iterator[str]:
    others = panel.compared - 1
    if others < 1 or best.best is None:
        return
    of_one = " of this network" if len(panel.seeds) == 1 else ""
    tied = panel.tied()
    if not tied:
        against = "the other one" if others == 1 else f"all {others} others"
        yield f"It is ahead of {against}{of_one} by more than noise{_family(panel)}."
        return
    named = ", ".join(_where(grid, panel, each.group) for each in tied[:MOST_NAMED])
    more = f" and {len(tied) - MOST_NAMED} more" if len(tied) > MOST_NAMED else ""
    yield (
        f"The probability that it is the best of the {others + 1}{of_one} is {best.best:.2f}: "
        f"{len(tied)} of the {others} others cannot be told from it ({named}{more}){_family(panel)}."
    )


def _family(panel: Panel) -> str:
    """Over which comparisons a claim holds."""
    count = len(panel.pairs)
    return f", with all {count} comparisons between cells taken together" if count > 1 else ""


def _along_axes(grid: Grid, panel: Panel, best: Standing) -> Iterator[str]:
    """One sentence per axis: the best group against those that differ from it in nothing else."""
    here = _position(grid, best.group)
    for axis in here:
        rivals = [
            (each, difference)
            for each, difference in panel.behind()
            if {**_position(grid, each.group), axis: ""} == {**here, axis: ""}
        ]
        if not rivals:
            continue
        rivals.sort(key=lambda each: _axis_order(axis, each[0].group))
        clauses = [_against(axis, best, *rival) for rival in rivals[: 2 * MOST_NAMED]]
        yield f"{_axis_words(axis, best.group)}: {'; '.join(clauses)}."


def _against(axis: str, best: Standing, rival: Standing, difference: Statement) -> str:
    this, other = _value_words(axis, best.group), _value_words(axis, rival.group)
    if difference.claimed:
        verb = "are" if this.endswith("layers") else "is"
        # What holds of one network may not hold of the next.
        one = " in this network" if len(difference.seeds) == 1 else ""
        return f"{this} {verb} {signed(difference)} above {other}{one}"
    return f"the difference between {this} and {other} ({signed(difference)}) {_doubt(difference)}"


def _doubt(difference: Statement) -> str:
    """Why a difference does not count: its interval has zero in it, or it is one of many that were looked at."""
    if difference.low <= 0 <= difference.high:
        return "is within noise"
    return f"is within noise among {difference.family} comparisons"


def _documents(panel: Panel, best: Standing) -> Iterator[str]:
    """The order of the layers in the documents beside the order found here."""
    here = {
        each.group.layer: each
        for each in reversed(panel.standings[: panel.compared])
        if each.group.head == documents.HEAD and each.group.layer in documents.STUDY.accuracy
    }
    if len(here) < 2:
        return
    found = sorted(here, key=lambda layer: -here[layer].accuracy.mean)
    theirs = sorted(here, key=lambda layer: -documents.STUDY.accuracy[layer])
    verdict = "the same order as" if found == theirs else "not the order of"
    shown_here = " > ".join(f"{layer} {here[layer].accuracy.mean:.3f}" for layer in found)
    shown_there = " > ".join(f"{layer} {documents.STUDY.accuracy[layer]:.3f}" for layer in theirs)
    images = "" if documents.same_images(best.group) else ", on other images"
    theirs_in_words = f"{shown_there}, one seed, no intervals{images}"
    yield f"With two ReLU layers, by their means: {shown_here}; {verdict} the documents ({theirs_in_words})."


def _caveats(panel: Panel) -> Iterator[str]:
    seeds = len(panel.seeds)
    if not seeds:
        yield "No predictions are stored beside these records, so that nothing is compared here."
    elif seeds == 1:
        yield from _one_seed(panel)
    elif seeds == 2:
        yield "Two seeds say little about how much pretrainings differ: a third makes most intervals shorter."
    threads = sorted(frozenset().union(*(each.group.threads for each in panel.standings)))
    if len(threads) > 1:
        yield (
            f"Networks were trained with {' and '.join(map(str, threads))} threads: of one seed these are different "
            "networks, and how threads matter cannot be told from how seeds do."
        )
    left = [each.group for each in panel.standings[panel.compared :]]
    if left and seeds:
        plural = "s have" if len(left) > 1 else " has"
        yield f"{len(left)} group{plural} not all of the seeds {shown(list(panel.seeds))} yet and no rank."


def _one_seed(panel: Panel) -> Iterator[str]:
    """What one seed leaves open, and what more of them would tell."""
    group = panel.first
    labels = f"other labels and other {group.part} images" if _subsets(group) > 1 else f"other {group.part} images"
    left_out = "" if _subsets(group) > 1 or group.label_fraction == 1 else "the choice of labels and "
    yield (
        f"One seed: intervals say what {labels} would change and leave out {left_out}what another pretraining would; "
        "what is said of layers and of baselines is said of this network."
    )
    if panel.prospects:
        reaches = " and ".join(
            f"{seeds} seeds (seed={','.join(map(str, range(seeds)))}) differences above {difference:.2f}"
            for seeds, difference in panel.prospects.items()
        )
        yield (
            "Networks are not compared with each other, as another seed of either may differ as much. If seeds differ "
            f"here as they did elsewhere, {reaches} could be told from noise."
        )


def _subsets(group: Group) -> int:
    values = group.first.get("probe.test_accuracy.values")
    return len(values) if isinstance(values, list) else 1


def _counted(findings: Findings) -> str:
    """``Left out: 2 failed, 1 skipped.``, or nothing."""
    counts = {state: count for state, count in findings.count().items() if state != "finished"}
    return f"Left out: {', '.join(f'{count} {state}' for state, count in counts.items())}." if counts else ""


def _position(grid: Grid, group: Group) -> dict[str, str]:
    return {axis: shown(group.settings.get(axis)) for axis in (*ORDERS, *grid.axes)}


def _where(grid: Grid, panel: Panel, group: Group) -> str:
    """Head and layer, and its place on every axis along which the panel differs."""
    axes = [
        f"{axis}={value}"
        for axis, value in grid.setting(group)
        if any(shown(each.group.settings.get(axis)) != value for each in panel.standings)
    ]
    return f"{group.head} probed at {_layer_words(group.layer)}" + (f" with {', '.join(axes)}" if axes else "")


def _layer_words(layer: str) -> str:
    return f"the {layer}" if layer in ("encoder", "projection") else layer


def _value_words(axis: str, group: Group) -> str:
    if axis == "head.name":
        return HEAD_WORDS.get(group.head, group.head)
    if axis == "probe.layer":
        return _layer_words(group.layer)
    return shown(group.settings.get(axis))


def _axis_words(axis: str, group: Group) -> str:
    if axis == "head.name":
        return f"Heads, probed at {_layer_words(group.layer)}"
    if axis == "probe.layer":
        return f"Layers, with {HEAD_WORDS.get(group.head, group.head)}"
    return f"{axis}, all else equal"


def _axis_order(axis: str, group: Group) -> tuple[float, str]:
    value = group.settings.get(axis)
    if axis in ORDERS:
        return ORDERS[axis](str(value))
    return (float(value) if isinstance(value, (int, float)) else 0.0, shown(value))
