"""The network: an encoder, and the projection head between it and the loss.

:mod:`network <simclr.model.network>` puts the two together and is what other rooms build, load and look into;
:mod:`layers <simclr.model.layers>` is there for whoever trains one, the rest are its parts. Everything here needs
TensorFlow, so it is imported by the module, where a network is needed, and never from this file.
"""
