"""What a cell's network makes of every image: found in the store, or computed for the layers that are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from simclr import store
from simclr.config import Config
from simclr.config.cell import Cell, all_layers, chosen, probed_view
from simclr.experiment.session import Session
from simclr.foundation import machine
from simclr.foundation.errors import InvalidInput
from simclr.foundation.files import Damaged
from simclr.store import TRAINED, UNTRAINED, Features, Pretraining
from simclr.store.features import cleared, publish, writing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from simclr.data import Images

Others = Callable[[], Iterable[Config]]
"""The cells of the grid that a cell is part of, itself among them or not."""


def nothing_else() -> Iterable[Config]:
    """Of a cell that is asked for by itself."""
    return ()


def possible(configs: Iterable[Config]) -> Iterator[Cell]:
    """The cells that there are among configurations, without a look at their images."""
    for config in configs:
        try:
            cell = chosen(config)
        except InvalidInput:
            continue
        yield cell


def find(cell: Cell, pretraining: Pretraining, network: str = TRAINED) -> Features | None:
    """What is known of the cell's layer.

    Raises:
        Damaged: something is wrong with it.
    """
    return pretraining.features(cell.seen, network, cell.layer.name)


def of_trained(cell: Cell, images: Images, pretraining: Pretraining, session: Session, others: Others) -> Features:
    """Compute what the trained network makes of the images, and, of few of them, the untrained one at every layer too.

    In float32 whatever the training's precision was, so that anyone who loads the weights has the same features. Of
    many images the layers that ``others`` ask for come out of the same pass.
    """
    networks = (TRAINED, UNTRAINED) if _are_few(cell, images) else (TRAINED,)
    return _computed(cell, images, pretraining, session, others, networks)


def of_untrained(cell: Cell, images: Images, pretraining: Pretraining, session: Session, others: Others) -> Features:
    """What the network makes of the images before its first step: found, or computed now."""

    def known() -> Features | None:
        try:
            return find(cell, pretraining, UNTRAINED)
        except Damaged:
            return None

    def make(_: store.Claim) -> Features:
        session.start(cell.config.pretrain)
        return _computed(cell, images, pretraining, session, others, (UNTRAINED,))

    found = store.made_once(store.place(cell.config.root, cell.key), known, make, session.report, idle=session.heed)
    assert found is not None  # it waits
    return found


def _are_few(cell: Cell, images: Images) -> bool:
    """Whether everything is kept: every layer and stage, of the trained and the untrained network."""
    config = cell.config
    numbers = sum(layer.width for layer in all_layers(config.encoder, config.head)) * sum(map(len, images.described))
    return 2 * 4 * numbers <= config.store.features_gib * 2**30


def _wanted(cell: Cell, images: Images, others: Others) -> list[str]:
    """All layers, of few images; else the cell's, and those that others ask the same network for, seen alike."""
    every = [layer.name for layer in all_layers(cell.config.encoder, cell.config.head)]
    if _are_few(cell, images):
        return every
    own = chosen(cell.config)
    asked = {other.layer.name for other in possible(others()) if (other.key, other.seen) == (own.key, own.seen)}
    return [name for name in every if name in asked | {cell.layer.name}]


def _computed(
    cell: Cell, images: Images, pretraining: Pretraining, session: Session, others: Others, networks: Sequence[str]
) -> Features:
    """Write the features of wanted layers that are not there yet: all of a network's in one pass over the images.

    Returns:
        Those of the cell's layer by the first network.
    """
    from simclr.evaluation.eye import Eye
    from simclr.model.network import assign_by_name, build_network, representations, variables_by_name

    config, layers = cell.config, _wanted(cell, images, others)
    network, eyes = store.network(pretraining), dict[tuple[str, ...], Eye]()
    for which in networks:
        folders = {layer: pretraining.features_folder(cell.seen, which, layer) for layer in layers}
        missing = {layer: folder for layer, folder in folders.items() if cleared(folder, session.report) is None}
        if not missing:
            continue
        if which == UNTRAINED:
            # The same network with its first weights: what was compiled for it once serves both.
            channels, side = images.described[0].channels, config.pretrain.side
            first = build_network(config.encoder, config.head, channels, side, config.seed)
            assign_by_name(network, variables_by_name(first))
        names = tuple(missing)
        if names not in eyes:
            eyes[names] = Eye(representations(network, names), probed_view(config.probe, config.augment))
        with session("features"):
            for part, split in zip(("train", "test"), images.described, strict=True):
                with writing(missing, part, len(split)) as append:
                    for some in eyes[names].at_a_time(split):
                        append(some)
            facts, views = dict[str, dict[str, Any]](), None
            if which == TRAINED:
                facts, views = _of_views(cell, images, pretraining, network, names)
            images.check()
            for layer, folder in missing.items():
                publish(folder, {"versions": machine.versions(), **facts.get(layer, {})}, views)
    found = find(cell, pretraining, networks[0])
    assert found is not None
    return found


def _of_views(
    cell: Cell, images: Images, pretraining: Pretraining, network: Any, layers: Sequence[str]
) -> tuple[dict[str, dict[str, Any]], NDArray[np.uint8]]:
    """By layer, what is known of it beside its features; and a few pairs of views."""
    from simclr.evaluation.eye import alignments, example_views

    config, (train, test) = cell.config, images.described
    how = config.augment, int(config.pretrain.sizes[-1][0]), config.seed
    weights = pretraining.manifest["files"][store.WEIGHTS]["sha256"]
    found = alignments(network, layers, test, *how)
    return {layer: {"weights": weights, "alignment": found[layer]} for layer in layers}, example_views(train, *how)
