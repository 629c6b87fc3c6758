"""The words, on results whose truth is known."""

from __future__ import annotations

import json

from simclr.report.groups import group
from simclr.report.records import read
from simclr.report.statistics import panels
from simclr.report.words import Answer, answers
from tests.report.constructed import Made, Noise, build, grid


def said(root, cells, noise=None) -> Answer:
    findings = read(build(root, cells, noise or Noise()))
    grid_of = group(findings.cells)
    return answers(grid_of, panels(grid_of.groups), findings)[0]


def text(answer: Answer) -> str:
    return " ".join([answer.headline, *answer.sentences])


def test_a_real_difference_is_said_with_its_size(tmp_path):
    answer = said(tmp_path, grid({("two_relu", "encoder"): 1.4, ("none", "encoder"): 0.4}))
    assert answer.headline.startswith("two_relu probed at the encoder: 0.7")
    assert "over the untrained network; +0." in answer.headline
    assert answer.headline.endswith("over raw pixels.")
    assert "It is ahead of the other one by more than noise." in answer.sentences
    assert "two ReLU layers are +0." in text(answer)
    assert "above no head" in text(answer)
    assert "within noise" not in text(answer)


def test_no_difference_is_within_noise(tmp_path):
    answer = said(tmp_path, grid({("two_relu", "encoder"): 1.2, ("one_relu", "encoder"): 1.2}))
    heads = next(sentence for sentence in answer.sentences if sentence.startswith("Heads"))
    assert "the difference between" in heads
    assert heads.endswith("is within noise.")
    assert "1 of the 1 others cannot be told from it" in text(answer)


def test_layers_of_a_head_are_compared_with_each_other(tmp_path):
    truth = {("two_relu", "encoder"): 1.4, ("two_relu", "relu_1"): 1.4, ("two_relu", "projection"): 0.2}
    answer = said(tmp_path, grid(truth))
    layers = next(sentence for sentence in answer.sentences if sentence.startswith("Layers, with two ReLU layers"))
    assert "is within noise" in layers
    assert "above the projection" in layers


def test_one_seed_is_not_taken_for_more(tmp_path):
    truth = {("two_relu", "encoder"): 1.6, ("two_relu", "projection"): 0.2, ("none", "encoder"): 0.4}
    answer = said(tmp_path, grid(truth, seeds=(0,)))
    assert "the highest of 3" in answer.headline
    assert "above the projection in this network" in text(answer)
    assert "above no head" not in text(answer)
    assert "P(best)" not in text(answer)
    assert "One seed: intervals say what other labels and other test images would change" in text(answer)
    assert "leave out what another pretraining would" in text(answer)
    assert "two seeds" not in text(answer)
    assert "2 seeds (seed=0,1) differences above 0." in text(answer)


def test_one_draw_of_labels_is_said_to_be_left_out(tmp_path):
    answer = said(tmp_path, grid({("two_relu", "encoder"): 1.6}, seeds=(0,)), Noise(subsets=1))
    assert "leave out the choice of labels and what another pretraining would" in text(answer)


def test_other_numbers_of_threads_are_said(tmp_path):
    cells = grid({("two_relu", "encoder"): 1.2, ("one_relu", "encoder"): 1.2}, seeds=(0, 1))
    root = build(tmp_path, cells)
    first = min(root.glob("results/*/result.json"))
    record = json.loads(first.read_text())
    record["host"]["threads"] = 1
    first.write_text(json.dumps(record))
    findings = read(root)
    grid_of = group(findings.cells)
    assert "trained with 1 and 2 threads" in text(answers(grid_of, panels(grid_of.groups), findings)[0])


def test_validation_images_are_called_so(tmp_path):
    root = build(tmp_path, grid({("two_relu", "encoder"): 1.2}, seeds=(0,)))
    (path,) = root.glob("results/*/result.json")
    record = json.loads(path.read_text())
    record["data"]["validation"] = 0.2
    path.write_text(json.dumps(record))
    findings = read(root)
    grid_of = group(findings.cells)
    answer = answers(grid_of, panels(grid_of.groups), findings)[0]
    assert answer.title == "imagenet5, validation images"
    assert "other validation images" in text(answer)


def test_two_seeds_that_differ_much_decide_nothing(tmp_path):
    truth = {("two_relu", "encoder"): 1.2, ("none", "encoder"): 1.0}
    answer = said(tmp_path, grid(truth, seeds=(0, 1)), Noise(seed=0.6))
    assert "is within noise" in text(answer)
    assert "Two seeds say little" in text(answer)


def test_pretraining_that_did_not_help_is_said_so(tmp_path):
    cells = [Made("two_relu", "encoder", seed, 0.2, untrained=0.2, pixels=1.4) for seed in (0, 1, 2)]
    answer = said(tmp_path, cells)
    assert "the difference from the untrained network (" in answer.headline
    assert "against raw pixels, which is better." in answer.headline


def test_the_order_of_layers_stands_beside_that_of_the_documents(tmp_path):
    truth = {("two_relu", "encoder"): 1.6, ("two_relu", "relu_2"): 1.0, ("two_relu", "relu_1"): 0.4}
    assert "the same order as the documents (encoder 0.364 > relu_2 0.324" in text(said(tmp_path / "a", grid(truth)))
    truth[("two_relu", "relu_1")] = 1.4
    other = text(said(tmp_path / "b", grid(truth, data="digits")))
    assert "not the order of the documents" in other
    assert "on other images" in other


def test_other_axes_have_a_sentence_of_their_own(tmp_path):
    truth = {("two_relu", "encoder"): 1.4}
    cells = grid(truth, pretrain__temperature=0.2) + grid({("two_relu", "encoder"): 0.4}, pretrain__temperature=1.0)
    answer = said(tmp_path, cells)
    assert "with pretrain.temperature=0.2" in answer.headline
    assert any(sentence.startswith("pretrain.temperature, all else equal: 0.2 is +0.") for sentence in answer.sentences)


def test_what_was_left_out_is_said(written):
    assert "Left out: 1 unfinished, 1 failed, 1 skipped, 2 corrupt, 3 foreign." in text(written.answers[0])
