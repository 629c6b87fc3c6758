"""What is known of each cell, in small files that one process writes and many read, at any time and from any machine.

:mod:`result <simclr.records.result>` is the record of a cell that is over, :mod:`status <simclr.records.status>` what
every cell is doing now, :mod:`summary <simclr.records.summary>` a record as a terminal shows it. TensorFlow is not
needed.
"""
