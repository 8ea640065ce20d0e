"""Mistakes of users are one sentence; bugs, of ours or of theirs, show where they come from."""

import json
import random
import re
import sys
import traceback

import pytest
import torch
from helpers import classifier, classifier_config, segmentor, segmentor_config

SEED = 9
CONFIG = """
custom_imports = dict(imports=['samat_mm', 'helpers'], allow_failed_imports=False)
default_scope = 'mmseg'
model = {model}
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type='RegisteredImages', count=2),
)
test_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='RegisteredImages', count=2, test_mode=True),
)
test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
train_cfg = dict(type='IterBasedTrainLoop', max_iters=1, val_interval=1)
test_cfg = dict(type='TestLoop')
val_dataloader, val_evaluator, val_cfg = test_dataloader, test_evaluator, dict(type='ValLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
default_hooks = dict(
    logger=dict(type='LoggerHook', log_metric_by_epoch=False),
    checkpoint=dict(type='CheckpointHook', by_epoch=False),
)
log_processor = dict(by_epoch=False)
log_level = 'ERROR'
"""
OWN_CODE = """
import sys
import torch
from mmengine.registry import DATASETS, METRICS, MODELS, RUNNERS
from mmengine.runner import Runner
from helpers import RegisteredImages
from mmseg.models import EncoderDecoder

@DATASETS.register_module(force=True)
class Own(RegisteredImages):
    def prepare_data(self, index):
        return {}['no such key']

@MODELS.register_module(force=True)
class OwnSegmentor(EncoderDecoder):
    def __init__(self, fault=None, **more):
        if fault == 'lookup':
            {}['no such key']
        if fault == 'library':
            torch.nn.Conv2d('a', 3, 1)
        if fault == 'exit':
            sys.exit(0)
        super().__init__(**more)

@RUNNERS.register_module(force=True)
class OwnRunner(Runner):
    def train(self):
        print('LOUD: my runner trains')
        return super().train()

    def test(self):
        print('LOUD: my runner tests')
        return super().test()
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A config, its checkpoint, and modules of a user's own."""
    path = tmp_path_factory.mktemp('mistakes')
    (path / 'config.py').write_text(CONFIG.format(model=segmentor_config().to_dict()))
    torch.save({'state_dict': segmentor().state_dict()}, path / 'right.pth')
    (path / 'own_code.py').write_text(OWN_CODE)
    (path / 'own_bug.py').write_text('{}["no such key"]')
    (path / 'own_import.py').write_text('import no_such_module')
    (path / 'own_syntax.py').write_text('def f(:')
    return path


@pytest.fixture
def work(folder, tmp_path, monkeypatch):
    """Work next to the user's own modules, and not in the checkout."""
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def changed(folder, work, extra, name='changed.py'):
    """A config with lines at its end; it knows the user's own code."""
    text = (folder / 'config.py').read_text().replace("'helpers'", "'helpers', 'own_code'")
    (work / name).write_text(f'{text}\n{extra}\n')
    return work / name


def refused(status, errors):
    """The sentence of a mistake; of one that argparse finds, its message."""
    assert 'Traceback' not in errors, errors
    lines = [line for line in errors.splitlines() if line.startswith('error: ')]
    if status == 2:
        assert re.match(r'[\w.]+: error: .{15,}', errors.splitlines()[-1]), errors
        return errors.splitlines()[-1]
    assert status == 1, errors
    assert len(lines) == 1, errors
    assert len(lines[0]) > 32
    assert lines[0].count(' ') > 4
    assert lines[0].endswith('.')
    return lines[0]


def bug(status, errors):
    """The traceback of a bug."""
    assert status == 1
    assert 'Traceback (most recent call last)' in errors
    assert errors.splitlines()[-1].startswith('If this comes from samat-mm and not')
    assert not [line for line in errors.splitlines() if line.startswith('error: ')]
    return errors


# ------------------------------------------------------------------------------------------------- configs


@pytest.mark.parametrize(
    ('extra', 'sentence'),
    [
        ('x =', r'cannot be read.*invalid syntax.*line \d+'),
        ('x = undefined', r"cannot be read \(line \d+ of .*changed.py\): name 'undefined' is not defined"),
        ("_base_ = 'nowhere.py'", r'cannot be read.*nowhere\.py'),
        ("_base_ = 'broken.py'", r'cannot be read \(line 2 of .*broken\.py\): division by zero'),
        ('import sys; sys.exit(0)', r'ends the program \(exit status 0\) while it is read \(line \d+ of '),
        ('filename = 3', 'filename is reserved'),
        ("custom_imports = dict(imports=['no_such_module'])", "No module named 'no_such_module'"),
        ("custom_imports = dict(imports=['own_syntax'])", r'invalid syntax \(own_syntax\.py, line 1\)'),
        ('custom_imports = dict(imports=3)', 'custom_imports must be a list'),
        ('del model', 'has no model'),
        ("model = 'x'", "model of config .*changed.py must be a dict; got 'x'"),
        ('custom_hooks = [dict(interval=1)]', 'custom_hooks of config .* are dicts with a type'),
        ('del test_dataloader', 'has no test_dataloader, which a test needs'),
        ('test_evaluator = None', 'has no test_evaluator, which a test needs'),
        ('test_cfg["fp16"] = "x"', "test_cfg.fp16 of config .* must be True or False; got 'x'"),
        ('model["backbone"]["depth"] = 19', 'cannot be built: ResNet: invalid depth 19 for resnet'),
        ('model["backbone"]["surplus"] = 1', r"ResNet.__init__\(\) got an unexpected keyword argument 'surplus'"),
        ('del model["decode_head"]', r"EncoderDecoder.__init__\(\) missing .* 'decode_head'"),
        ('model["backbone"]["type"] = "Nothing"', 'Nothing is not in the mmseg::model registry'),
        ('test_evaluator = dict(type="Nothing")', 'Nothing is not in the mmseg::metric registry'),
        ('test_dataloader["dataset"]["surplus"] = 1', "BaseDataset.*unexpected keyword argument 'surplus'"),
        ('test_dataloader["batch_size"] = 0', 'batch_size should be a positive integer'),
        ('model["type"] = "OwnSegmentor"; model["surplus"] = 1', "unexpected keyword argument 'surplus'"),
        ('model["type"] = "OwnSegmentor"; del model["backbone"]', "missing .* 'backbone'"),
        ('model["type"] = "OwnSegmentor"; model["backbone"]["depth"] = 19', 'ResNet: invalid depth 19'),
        ('model["type"] = "OwnSegmentor"; model["fault"] = "exit"', r'OwnSegmentor ends the program \(exit status 0\)'),
        ('runner_type = "Nothing"', 'cannot be built: Nothing: Nothing is not in the runner registry'),
        ('custom_hooks = [dict(type="AttackEvaluationHook", attacks="fgsm")]', "attacks must be a list.*got 'fgsm'"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_config_is_a_sentence_that_names_it(extra, sentence, tool, folder, work):
    (work / 'broken.py').write_text('\n1 / 0\n')
    status, _, errors = tool('test', changed(folder, work, extra), folder / 'right.pth')
    line = refused(status, errors)
    assert re.search(sentence, line), line
    assert 'changed.py' in line or 'attacks must' in line


@pytest.mark.parametrize(
    ('name', 'text', 'sentence'),
    [
        ('a.json', '[1]', 'must be a mapping'),
        ('a.json', '{', 'cannot be read: Expecting property name'),
        ('a.yaml', '', 'must be a mapping'),
        ('a.py', '\0', 'cannot be read: source code string cannot contain null bytes'),
        ('a.py', 'x = "\udcff"', "cannot be read: 'utf-8' codec can't decode"),
    ],
)
def test_a_file_that_is_no_config(name, text, sentence, tool, folder, work):
    (work / name).write_bytes(text.encode('utf-8', 'surrogateescape'))
    status, _, errors = tool('test', work / name, folder / 'right.pth')
    assert sentence in refused(status, errors)


def test_a_config_that_inherits_from_itself(tool, folder, work):
    (work / 'one.py').write_text("_base_ = 'two.py'")
    (work / 'two.py').write_text("_base_ = 'one.py'")
    limit, depth = sys.getrecursionlimit(), len(list(traceback.walk_stack(None)))
    sys.setrecursionlimit(depth + 150)  # MMEngine takes seconds to get to 1,000
    try:
        status, _, errors = tool('test', work / 'one.py', folder / 'right.pth')
    finally:
        sys.setrecursionlimit(limit)
    assert 'its _base_ leads back to itself' in refused(status, errors)


@pytest.mark.parametrize(
    ('extra', 'sentence'),
    [
        ('train_cfg["val_interval"] = 0', 'train_cfg.val_interval of config .* at least 1; got 0'),
        ('train_cfg["max_iters"] = "x"', "train_cfg.max_iters of config .* got 'x'"),
        ('del train_cfg["max_iters"]', "IterBasedTrainLoop.* missing 1 required positional argument: 'max_iters'"),
        ('optim_wrapper = train_dataloader = None', 'has no train_dataloader and no optim_wrapper'),
        ('optim_wrapper["optimizer"]["type"] = "Nothing"', "optimizer 'Nothing' of config .* is not registered"),
        ('optim_wrapper["optimizer"]["lr"] = -1', 'SGD: Invalid learning rate: -1'),
        ('optim_wrapper["type"] = "SAMOptimWrapper"; optim_wrapper["surplus"] = 1', "argument 'surplus'"),
        ('optim_wrapper["type"] = "SAMOptimWrapper"; optim_wrapper["clip_grad"] = 3', 'If `clip_grad` is not None'),
        ('param_scheduler = dict(type="LinearParamScheduler", param_name="nothing")', r'nothing in .*\(KeyError'),
        ('param_scheduler = dict(type="PolyLR", surplus=1)', "argument 'surplus'"),
        ('default_hooks["checkpoint"]["interval"] = "x"', "interval of CheckpointHook in config .*; got 'x'"),
        ('custom_hooks = [dict(type="AdversarialTrainingHook", attack=3)]', 'attack must be a config .*; got 3'),
        ('train_dataloader["sampler"] = 2.5', 'train_dataloader.sampler of config .* must be a dict; got 2.5'),
        ('compile = 3', '`compile` should be a dict or bool'),
    ],
)
def test_what_is_wrong_for_training_is_a_sentence_too(extra, sentence, tool, folder, work):
    line = refused(*tool('train', changed(folder, work, extra), '--work-dir', work / 'run')[::2])
    assert re.search(sentence, line), line


@pytest.mark.parametrize('name', ['train', 'test', 'sharpness'])
def test_options_of_the_config(name, tool, folder, work):
    files = [folder / 'config.py', *([] if name == 'train' else [folder / 'right.pth'])]
    for entry in ('x', '=3', 'a..b=3', 'a=[(],'):
        status, _, errors = tool(name, *files, '--cfg-options', entry)
        assert status == (1 if entry == 'a=[(],' else 2)  # whether it is an entry at all is seen before the config
        assert repr(entry) in refused(status, errors)
    status, _, errors = tool(name, *files, '--cfg-options', 'model.type.x=1')
    assert re.search('--cfg-options do not fit config .*config.py: type=', refused(status, errors))


# ------------------------------------------------------------------------------------------------- bugs


@pytest.mark.parametrize(
    ('extra', 'place'),
    [
        ("custom_imports['imports'].append('own_bug')", 'own_bug.py'),
        ("custom_imports['imports'].append('own_import')", 'own_import.py'),
        ('model["type"] = "OwnSegmentor"; model["fault"] = "lookup"', "{}['no such key']"),
        ('model["type"] = "OwnSegmentor"; model["fault"] = "library"', "torch.nn.Conv2d('a', 3, 1)"),
        ('train_dataloader["dataset"]["type"] = "Own"', "return {}['no such key']"),
    ],
)
def test_bugs_of_the_users_own_code_keep_their_traceback(extra, place, tool, folder, work):
    status, _, errors = tool('train', changed(folder, work, extra), '--work-dir', work / 'run')
    assert place in bug(status, errors)


@pytest.mark.parametrize('name', ['samat_mm.crafting.crafting.Crafting.check', 'samat_mm.api.evaluation._document'])
def test_bugs_of_ours_keep_theirs(name, tool, folder, work, monkeypatch):
    """Also in what MMEngine builds, and whatever their type."""

    def broken(*_, **__):
        return {}['our key']

    monkeypatch.setattr(name, broken)
    status, _, errors = tool('test', folder / 'config.py', folder / 'right.pth', '--max-samples', 1)
    assert "KeyError: 'our key'" in bug(status, errors)


def test_an_interrupt_ends_quietly(tool, folder, work, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr('samat_mm.engine.loops.attack_test_loop.AttackTestLoop.run', interrupted)
    status, _, errors = tool('test', folder / 'config.py', folder / 'right.pth')
    assert status == 130
    assert 'Traceback' not in errors
    assert 'error' not in errors


# ------------------------------------------------------------------------------------------------- runners


def test_the_runner_is_the_one_that_the_config_names(tool, folder, work):
    config = changed(folder, work, "runner_type = 'OwnRunner'")
    status, text, errors = tool('train', config, '--work-dir', work / 'run')
    assert status == 0, errors
    assert text.count('LOUD: my runner trains') == 1
    status, text, errors = tool('test', config, folder / 'right.pth', '--work-dir', work / 'run')
    assert status == 0, errors
    assert text.count('LOUD: my runner tests') == 1


def test_a_runner_without_a_model_trains_but_is_not_tested(tool, folder, work):
    more = "runner_type = 'FlexibleRunner'\nenv_cfg = dict(dist_cfg=dict(backend='gloo'))"
    config = changed(folder, work, more)
    status, _, errors = tool('train', config, '--work-dir', work / 'run')
    assert status == 0, errors
    assert (work / 'run' / 'iter_1.pth').is_file()
    status, _, errors = tool('test', config, folder / 'right.pth', '--work-dir', work / 'run')
    assert 'the FlexibleRunner of config' in refused(status, errors)


# ------------------------------------------------------------------------------------------------- outputs


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['--out', 'report.html'], "--out needs the name of a .json file; got 'report.html'"),
        (['--out', 'a_folder'], "--out needs the name of a .json file; got 'a_folder'"),
        (['--out', 'a_folder.json'], 'a_folder.json, which is not a regular file'),
        (['--out', 'page.json'], 'needs page.html, which is not a regular file'),
        (['--out', ''], "got ''"),
        (['--out', 'a_file/report.json'], 'a_file is a file'),
        (['--out', '/proc/nowhere/report.json'], '/proc/nowhere cannot be written to (No such file or directory)'),
        (['--show-dir', 'a_file'], '--show-dir needs a folder, but a_file is a file'),
        (['--show-dir', ''], '--show-dir needs the path of a folder'),
        (['--export', '/proc/nowhere'], '--export /proc/nowhere cannot be written to'),
        (['--export', 'same', '--show-dir', 'there/../same'], '--show-dir and --export need separate folders'),
        (['--work-dir', 'a_file/below'], '--work-dir a_file/below cannot be written to (Not a directory)'),
        (['--work-dir', ''], '--work-dir needs the path of a folder'),
    ],
)  # fmt: skip
def test_outputs_that_cannot_be_written_are_refused_before_the_work(
    arguments, sentence, tool, folder, work, monkeypatch
):
    monkeypatch.setattr('mmengine.runner.Runner.from_cfg', None)  # nothing is built
    (work / 'a_file').write_text('x')
    for name in ('a_folder', 'a_folder.json', 'page.html', 'there'):
        (work / name).mkdir()
    status, _, errors = tool('test', folder / 'config.py', folder / 'right.pth', '--attack', 'pgd-linf', *arguments)
    assert sentence in refused(status, errors)


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['--out', 'report.txt'], "--out needs the name of a .json file; got 'report.txt'"),
        (['--figures', 'a_file'], '--figures needs a folder, but a_file is a file'),
        (['--figures', ''], '--figures needs the path of a folder'),
    ],
)
def test_the_outputs_of_sharpness_too(arguments, sentence, tool, folder, work, monkeypatch):
    monkeypatch.setattr('mmengine.runner.Runner.from_cfg', None)
    (work / 'a_file').write_text('x')
    status, _, errors = tool('sharpness', folder / 'config.py', folder / 'right.pth', *arguments)
    assert sentence in refused(status, errors)


def test_a_report_does_not_overwrite_what_is_read(tool, folder, work):
    (work / 'config.json').write_text(json.dumps({'model': {}, 'test_dataloader': {}, 'test_evaluator': {}}))
    status, _, errors = tool('test', 'config.json', folder / 'right.pth', '--out', 'config.json')
    assert 'would overwrite the input config.json' in refused(status, errors)


def test_every_attack_has_one_folder(tool, folder, work):
    """The folder's name is not a path, though the name of the attack looks like one."""
    status, _, errors = tool(
        'test', folder / 'config.py', folder / 'right.pth', '--attack', 'pgd-linf', '--eps', '0.5/255', '8/255',
        '--steps', 1, '--max-samples', 1, '--show-dir', 'shown', '--export', 'files', '--out', 'report.json',
    )  # fmt: skip
    assert status == 0, errors
    names = ['pgd-linf@0.5-255', 'pgd-linf@8-255']
    for kind in ('shown', 'files'):
        assert sorted(path.name for path in (work / kind).iterdir()) == names
        assert len(list((work / kind).rglob('*.png'))) == 2
    page = (work / 'report.html').read_text()
    assert all(f'under pgd-linf@{eps}/255"' in page for eps in ('0.5', '8'))


# ------------------------------------------------------------------------------------------------- parameters


CLASSIFIER = """
custom_imports = dict(imports=['samat_mm', 'own_data'], allow_failed_imports=False)
default_scope = 'mmpretrain'
model = {model}
test_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='OwnClassificationImages'),
)
test_evaluator = dict(type='Accuracy')
test_cfg = dict(type='TestLoop')
log_level = 'ERROR'
"""
OWN_DATA = """
from helpers import ClassificationImages
from mmengine.registry import DATASETS

@DATASETS.register_module(force=True)
class OwnClassificationImages(ClassificationImages):
    def __init__(self):
        super().__init__(2)
"""


def test_queries_are_an_option_of_the_attacks_that_have_them(tool, folder, work):
    (folder / 'own_data.py').write_text(OWN_DATA)
    (work / 'classifier.py').write_text(CLASSIFIER.format(model=classifier_config().to_dict()))
    torch.save({'state_dict': classifier().state_dict()}, work / 'classifier.pth')
    arguments = ['classifier.py', 'classifier.pth', '--attack', 'square-linf', 'fgsm-linf']
    status, _, errors = tool('test', *arguments, '--queries', 3, '--out', 'report.json')
    assert status == 0, errors
    results = json.loads((work / 'report.json').read_text())['results']
    assert results['square-linf']['attack']['queries'] == 3
    assert results['square-linf']['forwards'] <= 6
    assert 'queries' not in results['fgsm-linf']['attack']


@pytest.mark.parametrize(
    ('attack', 'arguments', 'parameter'),
    [
        ('pgd-linf', ['--queries', '5'], 'queries'),
        ('square-linf', ['--steps', '5'], 'steps'),
        ('square-linf', ['--step-size', '1/255'], 'step_size'),
        ('fgsm-linf', ['--restarts', '2'], 'restarts'),
        ('pixle', ['--eps', '8/255'], 'eps'),
    ],
)
def test_an_option_that_no_attack_has_is_refused(attack, arguments, parameter, tool, folder, work):
    status, _, errors = tool('test', folder / 'config.py', folder / 'right.pth', '--attack', attack, *arguments)
    assert f'none of the attacks ({attack}) takes {parameter}' in refused(status, errors)


# ------------------------------------------------------------------------------------------------- at random

# Options that are right, and options of which each is wrong on its own, as the words of a command line.
RIGHT = {
    'test': [['--seed', '3'], ['--max-samples', '1'], ['--attack', 'pgd-linf'], ['--attack', 'fgsm-linf', 'pgd-l2']],
    'train': [['--amp'], ['--work-dir', 'run']],
    'sharpness': [['--batches', '1'], ['--seed', '3'], ['--rho', '0.1'], ['--probes', '0']],
    'prepare_data': [['--out', 'data']],
}
WRONG_EVERYWHERE = [
    *(['--cfg-options', entry] for entry in ('x', '=', 'model=3', 'model.type.x=1', 'model.backbone.depth=7', 'a.=1')),
    *(['--cfg-options', f'{name}={value}'] for name in ('train_dataloader', 'default_hooks') for value in ('3', '[1]')),
    *(['--work-dir', folder] for folder in ('', 'a_file', 'a_file/below', '/proc/nowhere')),
    ['--launcher', 'pytorch'], ['--launcher', 'mpi'], ['--launcher', 'x'], ['--nothing'], ['--cfg-options'],
]  # fmt: skip
WRONG = {
    'test': [
        *WRONG_EVERYWHERE,
        *(['--attack', *names] for names in (['nothing'], [''], ['list', 'pgd-linf'], ['pgd-linf', 'pgd-linf'], [])),
        *(['--attack', 'pgd-linf', '--eps', eps] for eps in ('', '8', '-1', 'nan', '1/0', '8/255/2', '٣', '1e999')),
        *(['--attack', 'pgd-linf', '--steps', steps] for steps in ('0', '-1', '1.5', 'x', '')),
        *(['--attack', 'pgd-linf', '--step-size', size] for size in ('0', '9', 'x', '/')),
        *(['--attack', 'pgd-linf', option, '0'] for option in ('--restarts', '--queries', '--max-samples')),
        *(['--seed', seed] for seed in ('-1', 'x', '99999999999999999999')),
        *(['--out', file] for file in ('', '.json', 'a.html', 'a_file/a.json', '/proc/nowhere/a.json')),
        *(['--attack', 'pgd-linf', option, 'a_file'] for option in ('--show-dir', '--export')),
        ['--eps', '8/255'], ['--export', 'files'], ['--craft-dtype', 'float8'], ['--resume'],
        ['--protocol', 'loose'], ['--attack', 'pgd-linf', '--surrogate', 'a_file'],
        ['--attack', 'pgd-linf', '--surrogate', 'a_file', 'a_file'],
    ],
    'train': [*WRONG_EVERYWHERE, ['surplus'], ['--cfg-options', 'optim_wrapper.type=Nothing']],
    'sharpness': [
        *WRONG_EVERYWHERE,
        *([option, value] for option in ('--batches', '--steps') for value in ('0', 'x')),
        *(['--rho', rho] for rho in ('-1', 'nan', 'x')),
        ['--probes', '1'], ['--seed', '-1'], ['--out', 'a.txt'], ['--figures', 'a_file'], ['--landscape', '1d'],
    ],
    'prepare_data': [['--out', 'a_file'], ['--out', '/proc/nowhere'], ['--nothing'], ['surplus']],
}  # fmt: skip


@pytest.mark.parametrize('name', WRONG)
def test_malformed_command_lines(name, tool, folder, work):
    """One wrong option among right ones, in any order."""
    numbers = random.Random(f'{SEED} {name}')
    (work / 'a_file').write_text('x')
    (work / 'a_folder').mkdir()
    files = {'prepare_data': ['stanford', 'a_folder'], 'train': [folder / 'config.py']}
    for wrong in numbers.sample(WRONG[name], min(20, len(WRONG[name]))):
        right = [option for option in RIGHT[name] if option[0] not in wrong]
        options = [wrong, *numbers.sample(right, numbers.randint(0, min(1, len(right))))]
        numbers.shuffle(options)
        words = [word for option in options for word in option]
        status, _, errors = tool(name, *files.get(name, [folder / 'config.py', folder / 'right.pth']), *words)
        assert refused(status, errors), words


@pytest.mark.parametrize('name', ['test', 'train', 'sharpness'])
def test_configs_that_break_off_anywhere(name, tool, folder, work):
    numbers, text = random.Random(f'{SEED} {name}'), (folder / 'config.py').read_text()
    files = [] if name == 'train' else [folder / 'right.pth']
    for _ in range(6):
        (work / 'cut.py').write_text(text[: numbers.randrange(len(text) // 2)])
        status, _, errors = tool(name, work / 'cut.py', *files)
        assert 'cut.py' in refused(status, errors)


MODULES = [
    'model', 'model["backbone"]', 'model["decode_head"]', 'model["data_preprocessor"]',
    'model["decode_head"]["loss_decode"]', 'train_dataloader["dataset"]', 'train_dataloader["sampler"]',
    'default_hooks["checkpoint"]', 'log_processor', 'optim_wrapper["optimizer"]',
]  # fmt: skip


def test_modules_that_cannot_be_built(tool, folder, work):
    """An unknown type, a surplus argument, no dict at all, in every part of a config."""
    numbers = random.Random(SEED)
    for module in MODULES:
        kind = numbers.choice(['{}["type"] = "Nothing"', '{}["surplus"] = 1', '{} = 3', '{} = "x"', '{} = [3]'])
        config = changed(folder, work, kind.format(module))
        status, _, errors = tool('train', config, '--work-dir', 'run')
        assert 'changed.py' in refused(status, errors), (module, kind)
