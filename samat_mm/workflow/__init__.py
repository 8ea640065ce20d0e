"""The workflow that rebuilds tables; Snakemake runs it."""

from pathlib import Path

SNAKEFILE = Path(__file__).with_name('Snakefile')
