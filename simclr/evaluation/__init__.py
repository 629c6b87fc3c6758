"""What a representation is worth: features, classifiers on them, fine-tuning, baselines, and what it is like.

:mod:`measurement <simclr.evaluation.measurement>` asks a cell all of it;
:mod:`eye <simclr.evaluation.eye>` is what a frozen network makes of images,
:mod:`uncertainty <simclr.evaluation.uncertainty>` an accuracy with its interval. TensorFlow is needed by features and
fine-tuning alone: classifiers on features that are stored do without.
"""
