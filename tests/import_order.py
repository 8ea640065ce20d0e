"""A program for tests/test_import.py: python import_order.py FOLDER, where samat_mm is imported before MMEngine."""

import sys
from functools import partial
from pathlib import Path


def raises(kind: type[Exception], text: str, function, *arguments) -> None:
    try:
        function(*arguments)
    except kind as error:
        assert text in str(error), error
    else:
        raise AssertionError(f'{function} raised nothing')


def registered() -> None:
    """Every kind of part is found, from any scope, by lookups and by listing."""
    import mmengine.runner  # noqa: F401
    from mmengine.registry import DATASETS, HOOKS, LOOPS, MODELS, OPTIM_WRAPPERS, TRANSFORMS, DefaultScope, Registry

    waiting = Registry.get.__name__ != 'get'
    assert 'IterTimerHook' in HOOKS
    assert ('samat_mm.registration' in sys.modules) != waiting  # MMEngine's own names do not load ours
    names = {DATASETS: 'DigitScenes', HOOKS: 'TRADESHook', LOOPS: 'AttackTestLoop', MODELS: 'PreActResNet'}
    with DefaultScope.overwrite_default_scope('mmseg'):
        for registry, name in {OPTIM_WRAPPERS: 'ASAMOptimWrapper', **names, TRANSFORMS: 'CheckLabels'}.items():
            with registry.switch_scope_and_registry('mmseg') as scoped:
                assert scoped.get(name).__module__.startswith('samat_mm.'), name
    assert {'AdversarialTrainingHook', 'TRADESHook'} <= set(HOOKS.module_dict)
    assert Registry.get.__name__ == 'get'  # nothing is left in the way


def secured(folder: Path) -> None:
    """No file executes anything."""
    import mmengine
    import torch
    from hostile import attempts
    from mmengine.infer import BaseInferencer
    from mmengine.runner import CheckpointLoader

    victim = folder / 'created'
    attempt = attempts(victim)['os.system']
    mmengine.dump(attempt, folder / 'a.pkl')
    torch.save({'state_dict': attempt}, folder / 'a.pth')
    (folder / 'a.yaml').write_text(f'!!python/object/apply:os.system ["touch {victim}"]')
    for name in ('a.pkl', 'a.yaml'):
        raises(ValueError, 'was refused', mmengine.load, folder / name)
    raises(ValueError, 'was refused', CheckpointLoader.load_checkpoint, str(folder / 'a.pth'))
    raises(ValueError, 'described in it by a program', BaseInferencer._init_model, None, None, 'a.pth')
    assert not victim.exists()


def adapted() -> None:
    """What our parts need is there, and the repairs, which belong to the tools, are not."""
    from mmengine.config.utils import MODULE2PACKAGE
    from mmengine.hooks import CheckpointHook
    from mmengine.hub import hub
    from mmengine.runner import Runner, runner

    from samat_mm import compat

    assert MODULE2PACKAGE['mmseg'] == 'onedl-mmsegmentation'
    for method in (Runner.load_or_resume, Runner.register_default_hooks, CheckpointHook.before_train):
        assert method.__globals__['__name__'] == 'samat_mm.compat.runners'
    changeable = (hub, 'install_package'), (runner, 'save_checkpoint')
    before = [getattr(*place) for place in changeable]
    assert not any(function.__module__.startswith('samat_mm') for function in before)
    compat.repair_process()
    assert all(getattr(*place) is not original for place, original in zip(changeable, before, strict=True))


def in_worker(folder: Path, number: int) -> None:
    """A worker is a fresh interpreter, whose first import of ours is the module of the data set."""
    registered()
    secured(folder)


def worked(folder: Path) -> None:
    """A spawned worker gives the items of this process."""
    from mmengine.registry import DATASETS
    from torch.utils.data import DataLoader

    dataset = DATASETS.build(dict(type='DigitScenes', length=2, pipeline=[dict(type='CheckLabels', num_classes=11)]))
    options = dict(num_workers=1, multiprocessing_context='spawn', worker_init_fn=partial(in_worker, folder))
    items = list(DataLoader(dataset, batch_size=None, **options))
    assert [(item['img'] == own['img']).all() for item, own in zip(items, dataset, strict=True)] == [True, True]


if __name__ == '__main__':
    import samat_mm.perturbations  # noqa: F401

    registered()
    secured(Path(sys.argv[1]))
    adapted()
    worked(Path(sys.argv[1]))
