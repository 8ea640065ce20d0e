"""From a config to a report in Python: the numbers of the test loop, and the settings that the config states."""

import hashlib
import itertools
import json
import re
from pathlib import Path

import pytest
import torch
from helpers import SegmentationImages, runner, segmentor, segmentor_config
from mmengine.config import Config

import samat_mm
from samat_mm.api import test_runner
from samat_mm.api.evaluation import evaluate
from samat_mm.api.test_runner import attacks_of, build_test_runner, run_test
from samat_mm.engine.hooks import AttackEvaluationHook
from samat_mm.evaluation import SanityChecks
from samat_mm.evaluation.image_score import ImageScore
from samat_mm.evaluation.provenance import provenance
from samat_mm.evaluation.radius_remarks import radius_remarks
from samat_mm.perturbations.inputs import PGD

LINF, L2 = dict(type='PGD', norm='linf'), dict(type='PGD', norm='l2')
STRONG = dict(type='PGD', norm='linf', eps='16/255', steps=2)


def config(**more):
    parts = dict(test_dataloader=dict(batch_size=1), test_evaluator=dict(type='IoUMetric'), **more)
    return Config(parts)


def runnable(work_dir, **more):
    """A config of a small segmentor on four images."""
    data = dict(type='RegisteredImages', count=4, test_mode=True)
    return Config(
        dict(
            default_scope='mmseg',
            model=segmentor_config().to_dict(),
            test_dataloader=dict(batch_size=2, sampler=dict(type='DefaultSampler', shuffle=False), dataset=data),
            test_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
            test_cfg=dict(type='TestLoop'),
            log_level='ERROR',
            work_dir=str(work_dir),
            **more,
        )
    )


@pytest.fixture
def checkpoint(tmp_path):
    torch.save({'state_dict': segmentor().state_dict()}, tmp_path / 'checkpoint.pth')
    return str(tmp_path / 'checkpoint.pth')


def test_the_report_has_the_numbers_of_the_test_loop(checkpoint, tmp_path):
    loop = dict(type='AttackTestLoop', attacks=[STRONG])
    expected = runner(segmentor(), tmp_path / 'loop', evaluate=SegmentationImages(4), test_cfg=loop).test()
    checks = SanityChecks(PGD('linf', '16/255', steps=2))
    given = runnable(tmp_path / 'work')
    report = evaluate(given, checkpoint, [STRONG], checks=checks, name='small', seed=0)
    assert report.result.metrics == expected
    document = json.loads(json.dumps(report.document))
    assert (document['config'], document['checkpoint'], document['samples']) == ('small', checkpoint, 4)
    assert document['results']['pgd-linf']['mIoU'] == expected['pgd-linf/mIoU']
    assert [check['check'] for check in document['sanity']] == [verdict.check for verdict in report.result.verdicts]
    assert len(document['sanity']) == 7
    assert report.result.folder.parent == tmp_path / 'work' / 'attack_results'
    assert document['provenance']['config']['text'] == given.pretty_text  # before the loop and hooks were replaced
    assert document['provenance']['data'] == {'type': 'RegisteredImages', 'count': 4, 'test_mode': True, 'samples': 4}
    assert document['provenance']['checkpoint']['bytes'] == Path(checkpoint).stat().st_size
    assert given.test_cfg == dict(type='TestLoop')  # the caller's config stays as it was


def test_a_config_file_with_attacks_and_settings_of_its_own(checkpoint, tmp_path):
    hook = dict(type='AttackEvaluationHook', attacks=[STRONG])
    runnable(tmp_path / 'work', custom_hooks=[hook]).dump(tmp_path / 'config.py')
    report = evaluate(tmp_path / 'config.py', checkpoint, max_samples=2)
    assert list(report.document['results']) == ['clean', 'pgd-linf']
    assert report.document['config'] == str(tmp_path / 'config.py')
    assert report.document['samples'] == 2
    assert list(evaluate(tmp_path / 'config.py', checkpoint, []).document['results']) == ['clean']
    of_no_file = evaluate(runnable(tmp_path / 'work'), checkpoint, []).document
    assert of_no_file['config'] == str(tmp_path / 'work')


def test_attacks_of_loop_and_hooks_once_each():
    found = attacks_of(
        config(
            test_cfg=dict(type='AttackTestLoop', attacks=['pgd-linf', L2]),
            default_hooks=dict(evaluation=dict(type='mmengine.AttackEvaluationHook', attacks=[L2, LINF]), timer=None),
            custom_hooks=[dict(type=AttackEvaluationHook, attacks=['fgsm-linf']), dict(type='EMAHook')],
        )
    )
    assert found == ['pgd-linf', L2, LINF, 'fgsm-linf']


def test_settings_that_numbers_depend_on_are_those_of_the_config_unless_others_are_asked_for(monkeypatch):
    built = []

    class Built:
        def __init__(self, given, model):
            built.append(given)

        def build_test_loop(self, given):
            loops.append(given)

    loops = []
    monkeypatch.setattr(test_runner, 'build_runner_and_model', Built)
    hook = dict(type='AttackEvaluationHook', attacks=[LINF], pixel_range=(0, 10000), craft_dtype='bfloat16')
    build_test_runner(config(custom_hooks=[hook]), craft_dtype=None, max_samples=None)
    build_test_runner(config(custom_hooks=[hook]), craft_dtype='float32', max_samples=3)
    loop = dict(type='AttackTestLoop', attacks=[LINF], pixel_range=(0, 1), max_samples=7)
    build_test_runner(config(custom_hooks=[hook], test_cfg=loop), attacks={}, max_samples=None)
    first, second, third = loops
    assert (first['pixel_range'], first['craft_dtype'], first.get('max_samples')) == ((0, 10000), 'bfloat16', None)
    assert (second['pixel_range'], second['craft_dtype'], second['max_samples']) == ((0, 10000), 'float32', 3)
    assert (third['pixel_range'], third['craft_dtype'], third['max_samples']) == ((0, 1), 'bfloat16', 7)
    assert all(given.custom_hooks == [] and given.test_cfg == dict(type='TestLoop', fp16=False) for given in built)


def test_attacks_made_on_the_model_of_another_config(checkpoint, tmp_path):
    """The report names it; the weights are those of its checkpoint, and resuming with another one is refused."""
    other = segmentor(seed=1)
    torch.save({'state_dict': other.state_dict()}, tmp_path / 'other.pth')
    theirs = runnable(tmp_path / 'nowhere')
    theirs.data_preprocessor = theirs.model.pop('data_preprocessor')  # where configs of mmpretrain have it
    theirs.dump(tmp_path / 'other.py')
    surrogate = (tmp_path / 'other.py', str(tmp_path / 'other.pth'))
    given = runnable(tmp_path / 'work')
    report = evaluate(given, checkpoint, [STRONG], surrogate=surrogate)
    loop = dict(type='AttackTestLoop', attacks=[STRONG], surrogate=other)
    expected = runner(segmentor(), tmp_path / 'loop', evaluate=SegmentationImages(4), test_cfg=loop).test()
    assert report.result.metrics == expected
    made_on = json.loads(json.dumps(report.document))['evaluation']['made_on']
    assert {name: made_on[name] for name in ('config', 'checkpoint')} == {
        'config': str(surrogate[0]),
        'checkpoint': surrogate[1],
    }
    assert not (tmp_path / 'nowhere').exists()
    with pytest.raises(ValueError, match=r'made on.*weights was'):
        evaluate(given, checkpoint, [STRONG], surrogate=(given, checkpoint), resume=True)
    with pytest.raises(FileNotFoundError, match=r'config nothing\.py is not a file'):
        evaluate(given, checkpoint, [STRONG], surrogate=('nothing.py', checkpoint))


def test_the_protocol_is_the_config_s_unless_another_one_is_asked_for(checkpoint, tmp_path):
    loop = dict(type='AttackTestLoop', attacks=[STRONG], protocol='paper-compat')
    given = runnable(tmp_path / 'work')
    given.test_cfg = loop
    stated, asked = evaluate(given, checkpoint), evaluate(given, checkpoint, protocol='strict')
    assert stated.document['evaluation']['protocol'] == 'paper-compat'
    assert asked.document['evaluation']['protocol'] == 'strict'
    assert stated.document['results']['clean']['mIoU'] == asked.document['results']['clean']['mIoU']
    assert stated.document['results']['pgd-linf']['mIoU'] != asked.document['results']['pgd-linf']['mIoU']


def test_a_model_in_memory_gives_the_numbers_of_its_checkpoint_and_stays_as_it_was(tmp_path):
    model = segmentor()
    model.train()
    model.backbone.eval()
    modes = [module.training for module in model.modules()]
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'model.pth')
    loaded = samat_mm.evaluate(runnable(tmp_path / 'file'), tmp_path / 'model.pth', [STRONG])
    given = samat_mm.evaluate(runnable(tmp_path / 'memory'), model, [STRONG])
    assert given.metrics == loaded.metrics and 'pgd-linf/mIoU' in given.metrics
    assert given.document['checkpoint'] == 'a model in memory'
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    for name in ('report.json', 'report.html', 'report.csv', 'report.tex'):
        given.save(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 100
    assert samat_mm.Report.load(tmp_path / 'report.json').metrics == given.metrics


def test_radii_by_norm(tmp_path):
    radii = {'linf': ['1/255', '4/255'], 'l2': '128/255'}
    report = samat_mm.evaluate(runnable(tmp_path), segmentor(), ['fgsm-linf', 'pgd-l2'], eps=radii, max_samples=1)
    used = {name: values['attack']['eps'] for name, values in report.document['results'].items() if name != 'clean'}
    assert used == {'fgsm-linf@1/255': 1 / 255, 'fgsm-linf@4/255': 4 / 255, 'pgd-l2': 128 / 255}
    with pytest.raises(ValueError, match=r'none of the attacks \(pgd-l2\) takes eps of linf'):
        samat_mm.evaluate(runnable(tmp_path), segmentor(), ['pgd-l2'], eps={'linf': '1/255'})


def test_a_radius_for_another_norm_gets_a_word():
    attacks = {
        'tiny': PGD('l2', '4/255'),
        'huge': PGD('linf', '128/255'),
        'fine': PGD('l2', '32/255'),
        'no': PGD(eps=0),
    }
    remarks = radius_remarks(attacks)
    assert [remark.partition(':')[0] for remark in remarks] == ['tiny', 'huge']
    assert 'Was it meant for linf?' in remarks[0] and '4 grey levels' in remarks[0]


def test_the_sharpness_of_a_model_in_memory_is_that_of_its_checkpoint(tmp_path):
    model, data = segmentor(), dict(type='RegisteredImages', count=4, test_mode=False)
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'model.pth')
    loader = dict(batch_size=2, sampler=dict(type='DefaultSampler', shuffle=True), dataset=data)
    before, given = model.state_dict(), runnable(tmp_path / 'work', train_dataloader=loader)
    found = [samat_mm.measure_sharpness(given, source, batches=1) for source in (model, tmp_path / 'model.pth')]
    assert found[0].metrics == found[1].metrics and found[0].metrics['sam'] > 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert found[1].provenance['data']['type'] == 'RegisteredImages'
    assert {'sha256', 'bytes'} <= set(found[1].document('a.py', 'model.pth')['provenance']['checkpoint'])


def test_the_seed_of_a_report_is_that_of_its_attacks(tmp_path):
    own = samat_mm.evaluate(runnable(tmp_path), segmentor(), [{**STRONG, 'seed': 7}], max_samples=1)
    assert own.document['seed'] == 7
    two = [{**STRONG, 'seed': 7}, {**STRONG, 'seed': 3, 'name': 'other'}]
    assert samat_mm.evaluate(runnable(tmp_path), segmentor(), two, max_samples=1).document['seed'] == '3, 7'
    with pytest.raises(ValueError, match='these are given as values'):
        samat_mm.evaluate(runnable(tmp_path), segmentor(), {'mine': PGD()}, seed=5)


def test_a_report_is_about_the_file_that_was_tested(tmp_path, monkeypatch):
    path = tmp_path / 'model.pth'
    torch.save({'state_dict': segmentor().state_dict()}, path)
    tested = hashlib.sha256(path.read_bytes()).hexdigest()

    def overwriting(runner, loop):
        path.write_bytes(b'the next best one')
        return run_test(runner, loop)

    monkeypatch.setattr('samat_mm.api.evaluation.run_test', overwriting)
    monkeypatch.setenv('HOME', str(tmp_path))
    report = samat_mm.evaluate(runnable(tmp_path / 'work'), '~/model.pth', [], max_samples=1)
    assert report.document['provenance']['checkpoint']['sha256'] == tested
    with pytest.raises(FileNotFoundError, match=r'none.pth is not a file'):
        samat_mm.evaluate(runnable(tmp_path / 'other'), 'none.pth')
    assert not (tmp_path / 'other').exists()


def test_the_scores_of_an_image_hold_no_other_image(tmp_path):
    """The metric keeps rows of a batch; a file of one would hold the whole batch."""
    batch = torch.rand(512, 10)
    score = ImageScore(results=[[{'pred_score': batch[3], 'whole': batch}]]).to_dict()['results'][0][0]
    assert torch.equal(score['pred_score'], batch[3]) and score['pred_score'].untyped_storage().nbytes() == 40
    assert score['whole'] is batch


def test_models_in_memory_of_two_methods_are_two_methods(tmp_path):
    wrappers = {
        'sgd': dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)),
        'sam': dict(type='SAMOptimWrapper'),
    }
    reports = []
    for number, (method, seed) in enumerate(itertools.product(wrappers, (0, 1))):
        given = runnable(tmp_path / str(number))
        given.randomness = dict(seed=seed)
        loader, loop = dict(batch_size=1), dict(type='IterBasedTrainLoop', max_iters=1)
        report = samat_mm.evaluate(given, segmentor(seed=number), [], max_samples=1, name='a.py').document
        trained = {**given.to_dict(), 'optim_wrapper': wrappers[method], 'train_dataloader': loader, 'train_cfg': loop}
        training = provenance(Config(trained), segmentor(seed=number), 'test_dataloader')['training']
        reports.append(samat_mm.Report({**report, 'provenance': {**report['provenance'], 'training': training}}))
    comparison = samat_mm.compare(reports)
    assert [comparison.cell(method.name, 'clean')['n'] for method in comparison.methods] == [2, 2]
    assert not [remark for remark in comparison.remarks if 'several settings' in remark]


@pytest.mark.parametrize(
    ('name', 'advice'), [('max_sample', 'did you mean max_samples?'), ('hue', 'give it to an attack')]
)
def test_an_option_that_the_loop_does_not_take_is_refused(name, advice, tmp_path):
    with pytest.raises(ValueError, match=re.escape(f'takes no {name}') + '.*' + re.escape(advice)):
        samat_mm.evaluate(runnable(tmp_path), segmentor(), [], **{name: 5})
