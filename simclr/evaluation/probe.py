"""What a frozen representation knows: classifiers on its features, judged on the test set.

A probe is fitted to a labelled subset of the training images and sees the test set once, for the number that is
reported; its own settings are chosen by cross-validation inside the subset. ``probe=documents`` is the exception, by
design: it stops on the test loss, as the documents did.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from simclr.config import ProbeConfig
from simclr.data.labels import Labels, Positions, draws_with_replacement, stratified_subsets
from simclr.evaluation.judgement import Evaluation, Fitted, best_classes, judged
from simclr.evaluation.linear import LogisticRegression
from simclr.evaluation.neighbours import WeightedNeighbours
from simclr.evaluation.rows import Rows, rows

Probe = Callable[[Rows, Labels, Rows, Labels, int], Fitted]
"""Fits a classifier to a subset's features (n, D) and labels (n,), and classifies the test's (m, D), given a seed.

The test's labels are for ``probe=documents`` alone, which stops on them.
"""


def evaluate(
    probe: Probe, train: tuple[Rows, Labels], test: tuple[Rows, Labels], subsets: Sequence[Positions], seed: int
) -> Evaluation:
    """Fit the probe to each labelled subset of the training features and record its accuracies.

    Args:
        probe: the classifier.
        train: features (N, D) and labels (N,) of the training images.
        test: features (m, D) and labels (m,) of the test images.
        subsets: positions of labelled images, one array per draw.
        seed: of the experiment, for cross-validation's folds.
    """
    features, labels = train
    test_features, test_labels = test
    fits = [probe(rows(features, subset), labels[subset], test_features, test_labels, seed) for subset in subsets]
    return judged(fits, labels, test_labels, subsets)


def label_subsets(config: ProbeConfig, labels: Labels, seed: int) -> list[Positions]:
    """The draws of labelled images that a probe is fitted to: the same for every cell with this data and seed."""
    draw = draws_with_replacement if config.name == "documents" else stratified_subsets
    return draw(labels, config.label_fraction, config.subsets, seed)


def build_probe(config: ProbeConfig) -> Probe:
    """The classifier that ``probe=`` names."""
    if config.name == "knn":
        return WeightedNeighbours(tuple(config.neighbours))
    if config.name == "documents":
        return documents_probe
    return LogisticRegression(tuple(config.strengths))


def documents_probe(features: Rows, labels: Labels, test_features: Rows, test_labels: Labels, seed: int) -> Fitted:
    """The documents' evaluation: one softmax layer, Adam, batch 64, at most 35 epochs, stopped on the test loss."""
    import keras
    import tensorflow as tf

    classes = int(max(labels.max(), test_labels.max())) + 1
    order = np.random.default_rng((seed, 0xADA)).permutation(len(labels))
    # So small a problem is no work for a GPU, whose sums would come in another order each time.
    with tf.device("/CPU:0"):
        softmax = keras.layers.Dense(
            classes, activation="softmax", kernel_initializer=keras.initializers.GlorotUniform(seed), dtype="float32"
        )
        model = keras.Sequential([keras.Input(features.shape[1:]), softmax])
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
        history = model.fit(
            features[order],
            labels[order],
            batch_size=64,
            epochs=35,
            validation_data=(test_features, test_labels),
            callbacks=[keras.callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=True)],
            shuffle=False,
            verbose=0,
        ).history
        train, test = (model.predict(each, verbose=0) for each in (features, test_features))
    stop = int(np.argmin(history["val_loss"]))
    best = best_classes(test, np.arange(classes))
    return Fitted(train.argmax(axis=1), test.argmax(axis=1), float(history["val_accuracy"][stop]), best)
