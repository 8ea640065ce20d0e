"""The command line: ``samat-mm COMMAND``, ``python -m samat_mm COMMAND`` and ``python tools/COMMAND.py``.

A module per command, with ``add_arguments`` and ``run``. They import torch and MMEngine only where the work starts, so
``--help`` and mistakes are answered at once.
"""
