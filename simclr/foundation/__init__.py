"""What everything else stands on, and knows nothing of experiments: errors for people, files, signals, the machine.

Any room may use any module here: :mod:`errors <simclr.foundation.errors>` for what a person is told,
:mod:`files <simclr.foundation.files>` for whole files and sealed folders, :mod:`work <simclr.foundation.work>` for who
is at what and for one process at a time, :mod:`interruption <simclr.foundation.interruption>` for stopping in order,
and :mod:`machine <simclr.foundation.machine>` for cores, memory and GPUs. Nothing here needs TensorFlow.
"""
