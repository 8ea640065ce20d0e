"""``samat_mm::NAME`` leads to a config of the package, in MMEngine as well, in either order of the imports."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.config.utils import ConfigParsingError

from samat_mm.files.configs import config_names, configs_folder, find_config

OWN = 'smallcnn_handwriting_sam.py'
EXPECTED = Config.fromfile(configs_folder() / OWN).to_dict()
PROGRAMS = {  # a process of its own for each order, and one that never imports samat_mm itself
    'samat_mm first': 'import samat_mm\nfrom mmengine.config import Config\nfrom mmengine.hub import get_config\n',
    'mmengine first': 'from mmengine.config import Config\nfrom mmengine.hub import get_config\nimport samat_mm\n',
    'in the config': 'from mmengine.config import Config\n',
}


@pytest.mark.parametrize(
    ('file', 'text'),
    [
        ('config.py', f"_base_ = 'samat_mm::{OWN}'\nwork_dir = 'here'\n"),
        ('config.py', f"_base_ = ['samat_mm::{OWN}']\nwork_dir = 'here'\n"),
        ('config.json', json.dumps({'_base_': f'samat_mm::{OWN}', 'work_dir': 'here'})),
        ('config.yaml', f'_base_: samat_mm::{OWN}\nwork_dir: here\n'),
    ],
)
def test_a_base_is_found_by_name_and_stays_as_it_is(file, text, tmp_path):
    (tmp_path / file).write_text(text)
    assert Config.fromfile(tmp_path / file).to_dict() == {**EXPECTED, 'work_dir': 'here'}  # no _scope_ anywhere


@pytest.mark.parametrize('order', PROGRAMS)
def test_the_order_of_the_imports_does_not_matter(order, tmp_path):
    name = f"'samat_mm::{OWN}'" if 'first' in order else f"__import__('samat_mm') and 'samat_mm::{OWN}'"
    (tmp_path / 'config.py').write_text(f'_base_ = {name}\n')
    code = f"{PROGRAMS[order]}assert Config.fromfile('config.py').model.backbone.type == 'SmallCNN'\n"
    if 'first' in order:
        code += f"assert get_config('samat_mm::{OWN}').optim_wrapper.type == 'SAMOptimWrapper'\n"
    subprocess.run([sys.executable, '-W', 'ignore', '-c', code], cwd=tmp_path, check=True)


def test_the_hub_reads_configs_and_builds_models():
    from mmengine.hub import get_config, get_model

    assert get_config(f'samat_mm::{OWN}').to_dict() == EXPECTED
    assert get_config('samat_mm::_base_/models/smallcnn.py').model.type == 'ImageClassifier'
    for name, kind in ((OWN, 'ImageClassifier'), ('deeplabv3_digits_sam.py', 'EncoderDecoder')):
        model = get_model(f'samat_mm::{name}')
        assert type(model).__name__ == kind
        assert type(model.data_preprocessor).__name__ != 'BaseDataPreprocessor'
    with pytest.raises(ValueError, match=r'smallcnn_handwriting_sam\.py has no published weights; leave out'):
        get_model(f'samat_mm::{OWN}', pretrained=True)


@pytest.mark.parametrize(
    ('name', 'sentence'),
    [
        ('samat_mm::deeplabv3_voc_sma.py', r'deeplabv3_voc_sma\.py is unknown; .*samat_mm::deeplabv3_voc_sam\.py'),
        ('samat_mm::deeplabv3_voc_sam', r'deeplabv3_voc_sam is unknown; .*samat_mm::deeplabv3_voc_sam\.py'),
        ('samat_mm::../setup.py', r'setup\.py is unknown; '),
        ('samat_mm::', r'samat_mm:: is unknown; one (that exists )?is samat_mm::\w'),
        ('configs/deeplabv3_voc_sam.py', r'is not a file; samat_mm has samat_mm::deeplabv3_voc_sam\.py\.'),
        ('nothing.py', r'config nothing\.py is not a file; those of samat_mm are samat_mm::NAME\.'),
    ],
)
def test_an_unknown_name_is_told_what_is_close_to_it(name, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=sentence):
        find_config(name)
    if '::' in name:
        (tmp_path / 'config.py').write_text(f'_base_ = {name!r}\n')
        with pytest.raises(FileNotFoundError, match=sentence):
            Config.fromfile('config.py')


def test_a_path_leads_to_itself_and_every_name_to_its_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / OWN).write_text('')
    assert find_config(OWN) == Path(OWN)
    assert find_config(str(tmp_path / OWN)) == tmp_path / OWN
    assert all(find_config(f'samat_mm::{name}').is_file() for name in config_names())
    assert {OWN, 'tables/table2.py', '_base_/datasets/digits.py'} <= set(config_names())


def test_configs_in_the_lazy_style_cannot_inherit_ours(tmp_path):
    """MMEngine refuses to mix the styles; its sentence says so."""
    (tmp_path / 'config.py').write_text(
        'from mmengine.config import read_base\n'
        'with read_base():\n'
        '    from samat_mm.configs.smallcnn_handwriting_sam import *\n'
    )
    with pytest.raises(ConfigParsingError):
        Config.fromfile(tmp_path / 'config.py')
