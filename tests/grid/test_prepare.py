"""What a grid knows of its data before it starts."""

from __future__ import annotations

import pytest

from simclr.config.compose import Composer
from simclr.grid.prepare import prepare
from tests.data.samples import Tree, encoded, picture


@pytest.fixture
def pictures(tmp_path):
    tree = Tree(tmp_path / "pictures")
    for number in range(10):
        for name in ("cat", "dog"):
            tree.add(f"{name}/{number}.jpg", encoded(picture(seed=tree.count)))
        tree.add(f"unlabeled/{number}.jpg")
    return tree.root


@pytest.mark.parametrize("axis", ["data.test_share=0.2,0.4", "data.unlabeled=0,1", "data.validation=0,0.3"])
def test_every_choice_of_images_is_a_pretraining_of_its_own(pictures, tmp_path, axis):
    key, _, values = axis.partition("=")
    root = tmp_path / "runs"
    given = (
        "data=folder",
        f"data.root={pictures}",
        "data.test_share=0.3",
        "probe.label_fraction=0.5",
        "pretrain.batch_size=4",
        f"root={root}",
    )
    points = [[*(each for each in given if not each.startswith(f"{key}=")), f"{key}={value}"]
              for value in values.split(",")]  # fmt: skip
    plan = prepare(points, Composer(), root).plan
    assert len({each.key for each in plan.cells}) == 2
