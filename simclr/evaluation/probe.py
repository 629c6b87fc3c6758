"""What a frozen representation knows: classifiers on its features, judged on the test set.

A probe is fitted to a labelled subset of the training images and sees the test set once, for the number that is
reported; its own settings are chosen by cross-validation inside the subset. ``probe=documents`` is the exception, by
design: it stops on the test loss, as the documents did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from simclr.config import ProbeConfig
from simclr.data.labels import Labels, Positions, draws_with_replacement, stratified_subsets
from simclr.evaluation import accuracy

Features = NDArray[np.float32]


@dataclass(frozen=True)
class Fitted:
    """One probe on one subset: classes it gives to its own images and to the test's, and its accuracy by validation."""

    train: Labels
    test: Labels
    validation_accuracy: float | None


class Probe(Protocol):
    """Fits a classifier to the subset's features (n, D) and labels (n,), and classifies the test's (m, D).

    The test's labels are for ``probe=documents`` alone, which stops on them.
    """

    def __call__(
        self, features: Features, labels: Labels, test_features: Features, test_labels: Labels, seed: int
    ) -> Fitted: ...


@dataclass(frozen=True)
class Evaluation:
    """A representation's record over the label subsets, and the class given to each test image by each (S, m)."""

    record: dict[str, Any]
    predictions: Labels


def evaluate(
    probe: Probe,
    train: tuple[Features, Labels],
    test: tuple[Features, Labels],
    subsets: Sequence[Positions],
    seed: int,
) -> Evaluation:
    """Fit the probe to each labelled subset of the training features and record its accuracies.

    Args:
        probe: the classifier.
        train: features (N, D) and labels (N,) of the training images.
        test: features (m, D) and labels (m,) of the test images.
        subsets: positions of labelled images, one array per draw.
        seed: of the experiment, for cross-validation's folds.

    Returns:
        The ``probe`` part of a result: accuracies, and the confusion matrix summed over subsets (rows: true class).
    """
    features, labels = train
    test_features, test_labels = test
    fits = [probe(features[subset], labels[subset], test_features, test_labels, seed) for subset in subsets]
    return judged(fits, labels, test_labels, subsets)


def judged(fits: Sequence[Fitted], labels: Labels, test_labels: Labels, subsets: Sequence[Positions]) -> Evaluation:
    """The record of classifiers that were fitted to one labelled subset each.

    Args:
        fits: one per subset.
        labels: (N,) of the training images.
        test_labels: (m,).
        subsets: positions of labelled images, one array per draw.
    """
    predictions = np.stack([fit.test for fit in fits])
    classes = int(labels.max()) + 1
    confusion = np.zeros((classes, classes), dtype=int)
    np.add.at(confusion, (np.broadcast_to(test_labels, predictions.shape), predictions), 1)
    record = {
        "test_accuracy": accuracy.summary(predictions == test_labels),
        "validation_accuracy": _over_subsets([fit.validation_accuracy for fit in fits]),
        "train_accuracy": _over_subsets(
            [float(np.mean(fit.train == labels[subset])) for fit, subset in zip(fits, subsets, strict=True)]
        ),
        "confusion": confusion.tolist(),
    }
    return Evaluation(record, predictions)


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


@dataclass(frozen=True)
class LogisticRegression:
    """Standardised features and L2-regularised logistic regression, C chosen by cross-validation.

    What is compared is the log loss at the sharpness that suits each C best: it rewards chances in the right order as
    accuracy does, less coarsely, and does not mind that a strong penalty makes them timid. The plain loss prefers a
    weaker penalty than accuracy does, the more so the more the features repeat each other, as those of a head do.
    """

    strengths: tuple[float, ...]

    def __call__(
        self, features: Features, labels: Labels, test_features: Features, test_labels: Labels, seed: int
    ) -> Fitted:
        standard, test_standard = _standardise(features, test_features)
        rotated, test_rotated = _row_space(standard, test_standard)
        strength, validation_accuracy = self._choose(rotated, labels, seed)
        model = _regression(strength).fit(rotated, labels)
        return Fitted(model.predict(rotated), model.predict(test_rotated), validation_accuracy)

    def _choose(self, features: NDArray[Any], labels: Labels, seed: int) -> tuple[float, float | None]:
        """The strength with the least held-out loss, and its accuracy there; the first where none can be held out.

        From the strongest penalty on, each fold's fit begins at its last one, and the search ends where the loss rises:
        along this path it falls and then rises, and the fits that are left out are the slowest ones.
        """
        strengths = sorted(self.strengths)
        folds = stratified_folds(labels, seed)
        models = [_regression(strengths[0]) for _ in folds]
        classes, true = np.unique(labels, return_inverse=True)
        best, least, accuracy_of_best = strengths[0], float("inf"), None
        for strength in strengths if folds else ():
            chances = np.empty((len(labels), len(classes)))
            for (inside, outside), model in zip(folds, models, strict=True):
                model.set_params(C=strength).fit(features[inside], labels[inside])
                chances[outside] = model.predict_proba(features[outside])
            loss = loss_at_best_sharpness(chances, true)
            if loss > least:
                break
            best, least = strength, loss
            accuracy_of_best = float(np.mean(chances.argmax(axis=1) == true))
        return best, accuracy_of_best


def loss_at_best_sharpness(chances: NDArray[Any], labels: Labels) -> float:
    """The log loss of chances (n, C) after the one power of them, 1/10 to 10, with which it is least.

    This is temperature scaling (Guo et al. 2017, arXiv 1706.04599): no chance overtakes another.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    logits = np.log(np.maximum(chances, 1e-12))
    rows = np.arange(len(labels))

    def loss(exponent: float) -> float:
        return float(-log_softmax(logits * 10**exponent, axis=1)[rows, labels].mean())

    return float(minimize_scalar(loss, bounds=(-1, 1), method="bounded").fun)


@dataclass(frozen=True)
class LinearClassifier:
    """Logits (features - mean) / spread @ kernel + bias; ``spread`` (D,), ``kernel`` (D, C)."""

    mean: NDArray[Any]
    spread: NDArray[Any]
    kernel: NDArray[Any]
    bias: NDArray[Any]


def linear_classifier(
    features: Features, labels: Labels, classes: int, strengths: tuple[float, ...], seed: int
) -> LinearClassifier:
    """What ``probe=linear`` fits to features (n, D) and labels (n,), as weights; zeros for a class without one."""
    standard, _ = _standardise(features, features)
    rotated, _ = _row_space(standard, standard)
    strength, _ = LogisticRegression(strengths)._choose(rotated, labels, seed)
    model = _regression(strength).fit(standard, labels)
    # Of two classes there is one logit f: the odds of softmax(-f/2, f/2) are those of sigmoid(f).
    rows, offsets = (
        (model.coef_, model.intercept_)
        if len(model.classes_) > 2
        else (np.concatenate([-model.coef_, model.coef_]) / 2, np.repeat(model.intercept_, 2) * [-0.5, 0.5])
    )
    kernel, bias = np.zeros((features.shape[1], classes)), np.zeros(classes)
    kernel[:, model.classes_], bias[model.classes_] = rows.T, offsets
    return LinearClassifier(features.mean(axis=0), features.std(axis=0), kernel, bias)


def _regression(strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression as Regression

    return Regression(C=strength, max_iter=1000, tol=1e-3, warm_start=True)


@dataclass(frozen=True)
class WeightedNeighbours:
    """Votes of the nearest images by cosine similarity s, each with weight exp(s / 0.07) (arXiv 1805.01978, sec. 3.4).

    The number of neighbours is chosen by cross-validation inside the labelled subset.
    """

    neighbours: tuple[int, ...]
    temperature: float = 0.07

    def __call__(
        self, features: Features, labels: Labels, test_features: Features, test_labels: Labels, seed: int
    ) -> Fitted:
        number, validation_accuracy = self.neighbours[0], None
        if folds := stratified_folds(labels, seed):
            hits = np.zeros(len(self.neighbours))
            for inside, outside in folds:
                for position, candidate in enumerate(self.neighbours):
                    found = self.classify(features[inside], labels[inside], features[outside], candidate)
                    hits[position] += (found == labels[outside]).sum()
            best = int(hits.argmax())
            number, validation_accuracy = self.neighbours[best], float(hits[best] / len(labels))
        train = self.classify(features, labels, features, number)
        return Fitted(train, self.classify(features, labels, test_features, number), validation_accuracy)

    def classify(self, bank: Features, labels: Labels, queries: Features, number: int) -> Labels:
        """The class (m,) that the ``number`` nearest of the bank (n, D) give to each query (m, D)."""
        number = min(number, len(bank))
        similarity = _unit(queries) @ _unit(bank).T
        nearest = np.argpartition(-similarity, number - 1, axis=1)[:, :number]
        weights = np.exp((np.take_along_axis(similarity, nearest, axis=1) - 1) / self.temperature)
        votes = np.zeros((len(queries), int(labels.max()) + 1))
        np.add.at(votes, (np.arange(len(queries))[:, None], labels[nearest]), weights)
        return votes.argmax(axis=1)


def documents_probe(
    features: Features, labels: Labels, test_features: Features, test_labels: Labels, seed: int
) -> Fitted:
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
        train, test = (model.predict(each, verbose=0).argmax(axis=1) for each in (features, test_features))
    best = int(np.argmin(history["val_loss"]))
    return Fitted(train, test, float(history["val_accuracy"][best]))


def stratified_folds(labels: Labels, seed: int, most: int = 5) -> list[tuple[Positions, Positions]]:
    """Stratified folds, at most ``most``; none where a class has a single example, so that nothing can be chosen."""
    from sklearn.model_selection import StratifiedKFold

    counts = np.bincount(labels)
    number = min(most, int(counts[counts > 0].min()))
    if number < 2:
        return []
    splitter = StratifiedKFold(number, shuffle=True, random_state=seed)
    return list(splitter.split(np.zeros(len(labels)), labels))


def _standardise(features: Features, test_features: Features) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both, in float64, with the subset's mean and standard deviation; a constant feature becomes zero."""
    mean, spread = features.mean(axis=0, dtype=float), features.std(axis=0, dtype=float)
    scale = np.where(spread > 1e-7, 1 / np.maximum(spread, 1e-7), 0.0)
    return (features - mean) * scale, (test_features - mean) * scale


def _row_space(features: NDArray[Any], test_features: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The same inner products in fewer dimensions, where there are more features than images.

    With a penalty on |w|^2 the best w lies in the span of the subset's rows (the representer theorem), so that
    X = U S V' and X_test V give the same classifier as X and X_test do, in n dimensions instead of D.
    """
    if features.shape[1] <= features.shape[0]:
        return features, test_features
    _, _, basis = np.linalg.svd(features, full_matrices=False)
    return features @ basis.T, test_features @ basis.T


def _unit(features: Features) -> Features:
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def _over_subsets(values: list[float | None]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    spread = float(np.std(known, ddof=1)) if len(known) > 1 else 0.0
    return {"mean": float(np.mean(known)) if known else None, "std": spread, "values": values}
