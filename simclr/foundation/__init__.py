"""What everything else stands on, and knows nothing of experiments: errors for people, files, signals, the machine.

Any room may use any module here: :mod:`errors <simclr.foundation.errors>` for what a person is told,
:mod:`files <simclr.foundation.files>` for whole files and sealed folders, :mod:`lock <simclr.foundation.lock>` for one
process at a time, :mod:`presence <simclr.foundation.presence>` for who is at what,
:mod:`interruption <simclr.foundation.interruption>` for stopping in an orderly way, and
:mod:`machine <simclr.foundation.machine>` for cores, memory and GPUs. Nothing here needs TensorFlow.
"""
