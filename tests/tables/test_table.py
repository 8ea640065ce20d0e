"""Every row of every table can be built: configs, models, optimizer wrappers, pipelines and attacks."""

import json

import numpy as np
import pytest
import torch
from helpers import ROOT
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, HOOKS, MODELS, DefaultScope

import samat_mm  # noqa: F401
from samat_mm.presets import build_attacks
from samat_mm.tables.budgets import Budget, shorten
from samat_mm.tables.methods import L2_STEPS, LINF_STEPS, changes_of, parts_of
from samat_mm.tables.reading import read_table, table_names

PAPER = ROOT / '../shared/paper/sam_at_duality.txt'
EVERY = [(name, budget) for name in table_names() for budget in ('smoke', 'paper')]
TABLES = [name for name in table_names() if name.startswith('table')]


def test_the_tables_are_those_of_section_5():
    assert table_names() == ['duality', 'duality-segmentation', *(f'table{number}' for number in range(2, 11))]


@pytest.mark.parametrize(('name', 'budget'), EVERY)
def test_every_row_builds(name, budget):
    table = read_table(name, budget)
    built = {}
    for row in table.rows:
        config = table.training_config(row, seed=7)
        assert config.randomness == dict(seed=7)
        with DefaultScope.overwrite_default_scope(config.default_scope):
            key = json.dumps([config.model, config.get('data_preprocessor')], default=str)
            if key not in built:  # without memory for the weights
                with torch.device('meta'):
                    built[key] = MODELS.build({**config.model, **_preprocessor(config), **_unloaded(config)})
            wrapper = build_optim_wrapper(torch.nn.Linear(2, 2), config.optim_wrapper)
            hook = config.default_hooks.get('adversarial_training')
            attack = HOOKS.build(hook).attack if hook else None
        assert type(wrapper).__name__.removesuffix('OptimWrapper') in (*parts_of(row.settings), '')
        plain = 'AdamW' if name == 'table10' else 'SGD'
        assert type(wrapper.optimizer).__name__ == ('Adam' if row.settings['method'] == 'Adam' else plain)
        if 'rho' in row.settings:
            assert wrapper.optimizer.param_groups[0]['rho'] == row.settings['rho']
        assert (attack is not None) == row.settings['method'].endswith('-AT')
    assert set(build_attacks(list(table.attack_configs().values()))) == set(table.attacks)


def _unloaded(config):
    """A pretrained text model has the architecture of its files; without them, the default one."""
    return {'pretrained': None} if 'pretrained' in config.model else {}


def _preprocessor(config):
    if 'data_preprocessor' in config.model or 'data_preprocessor' not in config:
        return {}
    return {'data_preprocessor': config.data_preprocessor}


BASES = sorted(
    {
        table.training_config(row, 0).filename
        for table in (read_table(*each) for each in EVERY)
        for row in table.rows
        if row.settings['method'] == 'SGD'
    }
)


@pytest.mark.parametrize('file', BASES)
def test_pipelines_of_loaded_images_run_on_stand_in_data(file):
    """The steps that read files are tested with their data sets."""
    config = Config.fromfile(file)
    size, channels = (8, 1) if 'handwriting' in file else (32, 3)
    for loader in (config.train_dataloader, config.val_dataloader):
        with DefaultScope.overwrite_default_scope(config.default_scope):
            if loader.dataset.type in ('HandwrittenDigits', 'DigitScenes'):
                item = DATASETS.build(loader.dataset)[0]
            else:
                steps = [step for step in loader.dataset.pipeline if not _reads_files(step['type'])]
                item = Compose(steps)(_stand_in(size, channels))
        assert item['inputs'].dtype == torch.uint8 and item['inputs'].shape[0] == channels


def _reads_files(kind):
    return kind.startswith(('Load', 'Checked'))


def _stand_in(size, channels):
    image = np.random.default_rng(0).integers(0, 256, (size, size, channels), np.uint8)
    labels = np.zeros((size, size), np.uint8)
    shapes = dict(img_shape=(size, size), ori_shape=(size, size))
    return dict(img=image, gt_label=1, gt_seg_map=labels, seg_fields=['gt_seg_map'], **shapes)


@pytest.mark.skipif(not PAPER.is_file(), reason='the text of the paper is not at hand')
@pytest.mark.parametrize('name', TABLES)
def test_published_numbers_are_those_of_the_paper(name):
    """Each row of ours is a line of the paper's table, in its order."""
    text = PAPER.read_text(encoding='utf-8').split(f'Table {name.removeprefix("table")}. ')[-1]
    found = []
    for line in text.splitlines():
        numbers = []
        for field in reversed(line.split('\t')):
            try:
                numbers.insert(0, float(field))
            except ValueError:
                break
        if numbers:
            found.append(numbers)
        elif found and line.strip():
            break
    ours = [[number for number in row.published.values() if number is not None] for row in read_table(name).rows]
    assert ours == found


def test_radii_are_scaled_where_the_images_are_others():
    paper, smoke = read_table('table2'), read_table('table2', 'smoke')
    attacks = {name: build_attacks([config])[name] for name, config in smoke.attack_configs().items()}
    assert attacks['pgd-linf'].eps == pytest.approx(0.05) and attacks['pgd-linf'].step_size == pytest.approx(0.0125)
    assert attacks['fab-l2'].eps == pytest.approx(64 / 255)
    pixle, whole = attacks['pixle'], build_attacks([paper.attack_configs()['pixle']])['pixle']
    side = 8 / 32  # of the images: 2 to 10 pixels become 0.5 to 2.5, rounded as Pixle rounds shares of an image
    assert pixle.widths == pixle.heights == tuple(max(1, round(side * width)) for width in whole.widths)
    assert (pixle.restarts, pixle.iterations) == (side * whole.restarts, whole.iterations)
    hook = smoke.training_config(smoke.row('linf-AT (eps = 8/255)'), 0).default_hooks.adversarial_training
    assert (hook.attack.eps, hook.attack.step_size) == (pytest.approx(0.1), pytest.approx(0.025))
    assert paper.attack_configs()['pgd-linf']['eps'] == '1/255'


def test_adversarial_training_takes_the_steps_of_the_protocol():
    table = read_table('table4')
    found = {}
    for row in table.rows:
        if row.settings['method'].endswith('-AT'):
            attack = table.training_config(row, 0).default_hooks.adversarial_training.attack
            found[row.settings['method'], row.settings['eps']] = (255 * attack.step_size, attack.steps)
    expected = {('linf-AT', eps): (float(step.split('/')[0]), steps) for eps, (step, steps) in LINF_STEPS.items()}
    expected |= {('l2-AT', f'{eps}/255'): (eps / 2, L2_STEPS) for eps in (16, 32, 64, 128)}
    assert found == {key: (pytest.approx(step), steps) for key, (step, steps) in expected.items()}


def test_a_budget_changes_the_rows_of_a_method():
    """The small text model: SAM starts after the first epoch, of 8,530 sentences in batches of 32."""
    plain, sam = (read_table('table10', 'smoke').training_config(row, 0) for row in read_table('table10').rows)
    assert sam.optim_wrapper.start_iter == -(-8530 // plain.train_dataloader.batch_size)
    assert sam.optim_wrapper.rho == 0.05 and 'start_iter' not in plain.optim_wrapper


def test_a_share_of_the_schedule_shrinks_all_of_it():
    epochs = read_table('table2', 'short').training_config(read_table('table2').rows[0], 0)
    assert (epochs.train_cfg.max_epochs, epochs.param_scheduler[0].milestones) == (10, [8, 9])
    iterations = read_table('table8', 'short').training_config(read_table('table8').rows[0], 0)
    assert (iterations.train_cfg.max_iters, iterations.param_scheduler[0].end) == (3000, 3000)
    whole = Config(dict(train_cfg=dict(max_epochs=3), param_scheduler=[]))
    shorten(whole, 1.0)
    assert whole.train_cfg == dict(max_epochs=3)


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (
            lambda: read_table('table1'),
            "table 'table1' is unknown; the known ones are duality, duality-segmentation, table2, table3",
        ),
        (lambda: read_table('table2', 'tiny'), "budget 'tiny' is unknown; it must be smoke, short, paper, or a file"),
        (lambda: read_table('table2').with_rows(['SAM']), "table2 has no row 'SAM'; it has SGD, Adam, SAM_rho-0.1"),
        (lambda: Budget(share=0), r'share of budget paper must be a number in \(0, 1\]; got 0'),
        (lambda: changes_of(dict(method='LBFGS'), None, {}), "method 'LBFGS' of a table is unknown"),
        (lambda: changes_of(dict(method='SAM'), None, {}), 'method SAM of a table needs rho'),
        (lambda: changes_of(dict(method='linf-AT', eps='3/255'), None, {}), "got '3/255'"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
