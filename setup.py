"""Packaging of samat-mm: version ranges here, tested pins in constraints.txt."""

import re
from pathlib import Path

from setuptools import find_namespace_packages, find_packages, setup

ROOT = Path(__file__).parent
# The version stands in samat_mm/version.py, which is read and not imported: its dependencies may not be installed.
VERSION = re.search(r"^__version__ = '(.+)'$", (ROOT / 'samat_mm/version.py').read_text(encoding='utf-8'), re.M)[1]

OPENMMLAB = [  # the maintained distributions of mmengine, mmcv, mmsegmentation and mmpretrain
    'onedl-mmengine>=0.10.12',
    'onedl-mmcv>=2.3.6',
    'onedl-mmsegmentation>=1.4.2',
    'onedl-mmpretrain>=1.3.6',
    'torchvision',
    'ftfy',  # mmsegmentation imports these two without declaring them
    'regex',
]
TEST = [
    'pytest>=8',
    'pytest-xdist>=3',
    'hypothesis>=6',
    'tqdm',  # serves torchattacks, see the Makefile
    'tensorboard>=2.18',  # 55 MB with all that it needs
]
TABLES = ['snakemake>=9.20']  # runs the trainings and tests of the paper's tables
TABLES_SLURM = [*TABLES, 'snakemake-executor-plugin-slurm>=2.8']  # on a cluster; not in dev, because it needs pandas
TEXT = ['transformers>=5', 'tokenizers>=0.22', 'safetensors>=0.4']
DOCS = ['mkdocs-material>=9.8', 'mkdocs>=1.6', 'nbclient>=0.10', 'ipykernel>=7']  # the site and its notebooks
LINT = ['ruff>=0.6', 'mypy>=1.10', 'pre-commit']

setup(
    name='samat-mm',
    version=VERSION,
    description='Sharpness-aware minimisation and adversarial training for every OpenMMLab model',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE'],
    keywords=['sharpness-aware minimisation', 'adversarial training', 'robustness', 'OpenMMLab', 'MMEngine'],
    python_requires='>=3.11',
    classifiers=[  # versions on which the pins were installed and the wheel was used
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Programming Language :: Python :: 3.13',
    ],
    # The package includes the configs, so an installed samat-mm finds its presets.
    packages=[
        *find_packages(include=['samat_mm', 'samat_mm.*']),
        'samat_mm.configs',
        *(f'samat_mm.configs.{name}' for name in find_namespace_packages('configs')),
    ],
    package_dir={'samat_mm.configs': 'configs'},
    package_data={
        'samat_mm': ['py.typed'],
        'samat_mm.reports': ['*.jinja'],
        'samat_mm.tables': ['step_times.json'],
        'samat_mm.tables.pages': ['*.jinja'],
        'samat_mm.visualization': ['*.jinja'],
        'samat_mm.workflow': ['Snakefile'],
    },
    install_requires=[
        'torch>=2.7',
        'numpy',
        'scipy',
        'rich>=13',
        'matplotlib>=3.7',
        'scikit-learn>=1.2',
        'jinja2>=3',
        'pillow>=10',
    ],
    entry_points={'console_scripts': ['samat-mm = samat_mm.command_line.main:main']},
    extras_require={
        'mm': OPENMMLAB,
        'tables': TABLES,
        'tables-slurm': TABLES_SLURM,
        'text': TEXT,
        'test': TEST,
        'lint': LINT,
        'docs': DOCS,
        'dev': [*OPENMMLAB, *TABLES, *TEXT, *TEST, *LINT, *DOCS],
    },
)
