"""A linear classifier on features: regularised logistic regression."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simclr.data.labels import Labels, Positions, stratified_folds
from simclr.evaluation.judgement import Features, Fitted, best_classes
from simclr.evaluation.rows import Rows, rows

if TYPE_CHECKING:
    from simclr.evaluation.softmax import Softmax, Weights

FEW = 2000
"""Images; a probe of more looks at a few of them at a time, on TensorFlow's device."""
FOLDED = 5000
"""Images; of more a tenth is held out in place of five folds."""
TENTH = 10
NUMBERS = 1 << 23
"""Logits whose losses are in memory at a time."""


@dataclass(frozen=True)
class LogisticRegression:
    """Standardised features and L2-regularised logistic regression, C chosen by cross-validation.

    What is compared is the log loss at the sharpness that suits each C best: it rewards chances in the right order as
    accuracy does, less coarsely, and does not mind that a strong penalty makes them timid. The plain loss prefers a
    weaker penalty than accuracy does, the more so the more the features repeat each other, as those of a head do.
    """

    strengths: tuple[float, ...]

    def __call__(self, features: Rows, labels: Labels, test_features: Rows, test_labels: Labels, seed: int) -> Fitted:
        if len(features) > FEW:
            return self._of_many(features, labels, test_features, seed)
        standard, test_standard = _standardise(features[:], test_features[:])
        rotated, test_rotated = _row_space(standard, test_standard)
        strength, validation_accuracy = self._choose(rotated, labels, seed)
        model = _regression(strength).fit(rotated, labels)
        best = best_classes(model.decision_function(test_rotated), model.classes_) if len(model.classes_) > 2 else None
        return Fitted(model.predict(rotated), model.predict(test_rotated), validation_accuracy, best)

    def _of_many(self, features: Rows, labels: Labels, test_features: Rows, seed: int) -> Fitted:
        """The same of so many images that they are looked at a few at a time."""
        classes, true = np.unique(labels, return_inverse=True)
        softmax, weights, accuracy = self._fit_many(features, true, seed)
        train = np.concatenate([logits.argmax(axis=1) for logits in softmax.logits(weights, features)])
        scores = np.concatenate(list(softmax.logits(weights, test_features)))
        return Fitted(classes[train], classes[scores.argmax(axis=1)], accuracy, best_classes(scores, classes))

    def _fit_many(self, features: Rows, labels: Labels, seed: int) -> tuple[Softmax, Weights, float | None]:
        """The regression on many images, its weights, and the accuracy on those that were held out."""
        from simclr.training.runtime import start_tensorflow

        start_tensorflow(None)
        from simclr.evaluation.softmax import Softmax

        softmax = Softmax(features, labels)
        folds = stratified_folds(labels, seed) if len(labels) <= FOLDED else stratified_folds(labels, seed, TENTH)[:1]
        fits: list[Weights | None] = [None] * len(folds)
        first: dict[float, Weights | None] = {}

        def held_out(strength: float) -> tuple[float, float]:
            given: list[Features] = []
            for number, (inside, outside) in enumerate(folds):
                fits[number] = fit = softmax.fit(strength, fits[number], inside)
                given += softmax.logits(fit, rows(features, outside))
            first[strength] = fits[0]
            true, logits = np.concatenate([labels[outside] for _, outside in folds]), np.concatenate(given)
            return loss_at_best_sharpness(logits, true), float(np.mean(logits.argmax(axis=1) == true))

        best, accuracy = self._search(held_out if folds else None)
        return softmax, softmax.fit(best, first.get(best)), accuracy

    def _choose(self, features: NDArray[Any], labels: Labels, seed: int) -> tuple[float, float | None]:
        """The strength with the least loss over five folds, and its accuracy there."""
        folds = stratified_folds(labels, seed)
        models = [_regression(min(self.strengths)) for _ in folds]
        classes, true = np.unique(labels, return_inverse=True)

        def held_out(strength: float) -> tuple[float, float]:
            chances = np.empty((len(labels), len(classes)))
            for (inside, outside), model in zip(folds, models, strict=True):
                model.set_params(C=strength).fit(features[inside], labels[inside])
                chances[outside] = model.predict_proba(features[outside])
            loss = loss_at_best_sharpness(np.log(np.maximum(chances, 1e-12)), true)
            return loss, float(np.mean(chances.argmax(axis=1) == true))

        return self._search(held_out if folds else None)

    def _search(self, held_out: Callable[[float], tuple[float, float]] | None) -> tuple[float, float | None]:
        """The strength with the least held-out loss, and its accuracy there; the first where none can be held out.

        From the strongest penalty on, each fit begins at the last one, and the search ends where the loss rises: along
        this path it falls and then rises, and the fits that are left out are the slowest ones.
        """
        best, least, accuracy_of_best = min(self.strengths), float("inf"), None
        if held_out is None:
            return best, None
        for strength in sorted(self.strengths):
            loss, accuracy = held_out(strength)
            if loss > least:
                break
            best, least, accuracy_of_best = strength, loss, accuracy
        return best, accuracy_of_best


def of_many(subsets: Sequence[Positions]) -> bool:
    """Whether a probe of one of these label subsets looks at a few images at a time, which needs TensorFlow."""
    return max(map(len, subsets)) > FEW


def loss_at_best_sharpness(logits: NDArray[Any], labels: Labels) -> float:
    """The log loss of logits (n, C), or logs of chances, after the one factor, 1/10 to 10, with which it is least.

    This is temperature scaling (Guo et al. 2017, arXiv 1706.04599): no chance overtakes another.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    at_once = max(1, NUMBERS // logits.shape[1])

    def loss(exponent: float) -> float:
        total = 0.0
        for start in range(0, len(labels), at_once):
            some, true = logits[start : start + at_once], labels[start : start + at_once]
            total -= float(log_softmax(some * 10**exponent, axis=1)[np.arange(len(true)), true].sum())
        return total / len(labels)

    return float(minimize_scalar(loss, bounds=(-1, 1), method="bounded").fun)


@dataclass(frozen=True)
class LinearClassifier:
    """Logits (features - mean) / spread @ kernel + bias; ``spread`` (D,), ``kernel`` (D, C)."""

    mean: NDArray[Any]
    spread: NDArray[Any]
    kernel: NDArray[Any]
    bias: NDArray[Any]


def linear_classifier(
    features: Rows, labels: Labels, classes: int, strengths: tuple[float, ...], seed: int
) -> LinearClassifier:
    """What ``probe=linear`` fits to features (n, D) and labels (n,), as weights; zeros for a class without one."""
    probe, (known, true) = LogisticRegression(strengths), np.unique(labels, return_inverse=True)
    kernel, bias = np.zeros((features.shape[1], classes)), np.zeros(classes)
    if len(features) > FEW:
        softmax, weights, _ = probe._fit_many(features, true, seed)
        kernel[:, known], bias[known] = weights.kernel, weights.bias
        mean, scale = softmax.standard.mean, softmax.standard.scale
        return LinearClassifier(mean, np.divide(1, scale, out=np.ones_like(scale), where=scale > 0), kernel, bias)
    some = features[:]
    standard, _ = _standardise(some, some)
    rotated, _ = _row_space(standard, standard)
    strength, _ = probe._choose(rotated, labels, seed)
    model = _regression(strength).fit(standard, labels)
    coefficients, offsets = model.coef_, model.intercept_
    if len(known) == 2:
        # There is one logit f: the odds of softmax(-f/2, f/2) are those of sigmoid(f).
        coefficients, offsets = np.concatenate([-coefficients, coefficients]) / 2, np.repeat(offsets, 2) * [-0.5, 0.5]
    kernel[:, known], bias[known] = coefficients.T, offsets
    return LinearClassifier(some.mean(axis=0), some.std(axis=0), kernel, bias)


def _regression(strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression as Regression

    return Regression(C=strength, max_iter=1000, tol=1e-3, warm_start=True)


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
