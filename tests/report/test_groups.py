"""Cells that differ in nothing but the seed."""

from __future__ import annotations

from simclr.report.groups import group, layer_order
from simclr.report.records import read
from tests.report.constructed import build, grid

TRUTH = {("two_relu", "encoder"): 1.0, ("none", "encoder"): 0.0}


def test_seeds_are_one_group_and_other_settings_are_axes(tmp_path):
    cells = grid(TRUTH) + grid(TRUTH, pretrain__temperature=0.5)
    found = group(read(build(tmp_path, cells)).cells)
    assert [each.seeds for each in found.groups] == [(0, 1, 2)] * 4
    assert found.axes == ("pretrain.temperature",)
    assert {found.setting(each) for each in found.groups} == {
        (("pretrain.temperature", value),) for value in ("0.2", "0.5")
    }


def test_what_follows_from_a_named_choice_is_no_axis(tmp_path):
    cells = grid(TRUTH, encoder__widths=[8, 16, 32, 64])
    cells += grid(TRUTH, encoder__name="small_cnn", encoder__widths=[8, 12])
    assert group(read(build(tmp_path, cells)).cells).axes == ("encoder.name",)


def test_where_work_is_done_is_no_axis(tmp_path):
    cells = grid(TRUTH, seeds=(0,)) + grid(TRUTH, seeds=(1,), pretrain__threads=1, tracking__mode="disabled")
    found = group(read(build(tmp_path, cells)).cells)
    assert found.axes == ()
    assert [each.seeds for each in found.groups] == [(0, 1)] * 2


def test_a_setting_that_a_record_is_older_than_is_no_axis(tmp_path):
    root = build(tmp_path, grid(TRUTH, augment__crop_fit="clipped"))
    for path in root.glob("results/*-s0-*/config.yaml"):
        path.write_text(path.read_text().replace("  crop_fit: clipped\n", ""))
    found = group(read(root).cells)
    assert found.axes == ()
    assert [each.seeds for each in found.groups] == [(0, 1, 2)] * 2


def test_layers_come_in_the_order_in_which_an_image_passes_them():
    layers = ["projection", "relu_2", "relu_1", "encoder", "stage_10", "stage_2", "dense_1"]
    expected = ["stage_2", "stage_10", "encoder", "dense_1", "relu_1", "relu_2", "projection"]
    assert sorted(layers, key=layer_order) == expected
