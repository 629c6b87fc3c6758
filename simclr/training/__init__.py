"""Contrastive pretraining: two views of each image, the loss, the optimizer, the step, ``fit`` and what watches it.

:mod:`pretrain <simclr.training.pretrain>` is the whole of it; who begins one starts TensorFlow with
:mod:`runtime <simclr.training.runtime>` before. Without TensorFlow one may use
:mod:`cluster <simclr.training.cluster>` (which of how many processes this is) and
:mod:`checkpoint <simclr.training.checkpoint>` (the state that an unfinished pretraining goes on from). Nothing is
imported from this file, so that those stay cheap.
"""
