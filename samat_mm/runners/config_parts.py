"""The required parts of a config and their form; MMEngine itself reports mistakes late, obscurely or not at all."""

from collections.abc import Mapping

import mmengine.hooks
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import OPTIMIZERS
from torch.utils.data import Dataset, Sampler

from samat_mm.errors import InputError

COUNTING = ('AttackEvaluationHook', 'SharpnessHook')  # our hooks with an interval; other hooks may differ
MAPPINGS = (
    'model',
    *(f'{phase}_{part}' for phase in ('train', 'val', 'test') for part in ('dataloader', 'cfg')),
    'optim_wrapper',
    'default_hooks',
)


def name_of(config: Config) -> str:
    """Return how messages name a config: by its file, if it has one."""
    return f'config {config.filename}' if config.filename else 'the config'


def check_parts(config: Config) -> None:
    """Refuse a config whose parts do not have the form that MMEngine and the tools expect.

    Raises:
        ValueError: if there is no model, or a part is of another kind; the message names it.
    """
    if config.get('model') is None:
        raise InputError(f'{name_of(config)} has no model; give one with a model=dict(type=...).')
    for name in MAPPINGS:
        part = config.get(name)
        if part is not None and not isinstance(part, Mapping):
            raise InputError(f'{name} of {name_of(config)} must be a dict; got {part!r}.')
    for name in (name for name in MAPPINGS if name.endswith('dataloader')):
        for part, kind in (('dataset', Dataset), ('sampler', Sampler)):
            given = (config.get(name) or {}).get(part)
            if given is not None and not isinstance(given, (Mapping, kind)):
                raise InputError(f'{name}.{part} of {name_of(config)} must be a dict; got {given!r}.')
    hooks = config.get('custom_hooks') or []
    if not isinstance(hooks, (list, tuple)):
        raise InputError(f'custom_hooks of {name_of(config)} must be a list of dicts; got {hooks!r}.')
    for hook in hooks:
        if not isinstance(hook, Hook) and not (isinstance(hook, Mapping) and 'type' in hook):
            raise InputError(f'custom_hooks of {name_of(config)} are dicts with a type; got {hook!r} in it.')
    for hook in [*hooks, *(config.get('default_hooks') or {}).values()]:
        name = str(hook.get('type', '')).rpartition('.')[2] if isinstance(hook, Mapping) else ''
        interval = hook.get('interval', 1) if name in COUNTING or hasattr(mmengine.hooks, name) else 1
        if isinstance(interval, bool) or not isinstance(interval, int):
            raise InputError(
                f'interval of {hook.get("type")} in {name_of(config)} must be a whole number; got {interval!r}.'
            )


def check_training(config: Config) -> None:
    """Refuse a config without the parts of a training, or one that would never train or validate.

    Raises:
        ValueError: naming the part.
    """
    missing = [name for name in ('train_dataloader', 'train_cfg', 'optim_wrapper') if not config.get(name)]
    if missing:
        raise InputError(f'{name_of(config)} has no {" and no ".join(missing)}, which training needs; add it.')
    for name in ('max_iters', 'max_epochs', *(['val_interval'] if config.get('val_dataloader') else [])):
        count = config.train_cfg.get(name, 1)
        whole = isinstance(count, (int, float)) and not isinstance(count, bool) and float(count).is_integer()
        if not whole or count < 1:
            raise InputError(
                f'train_cfg.{name} of {name_of(config)} must be a whole number of at least 1; got {count!r}.'
            )


def check_optimizer(config: Config) -> None:
    """Refuse an optimizer that is not registered; call this after building the runner, whose scope counts.

    Raises:
        ValueError: if it is not registered.
    """
    optimizer = config.optim_wrapper.get('optimizer')
    name = optimizer.get('type') if isinstance(optimizer, Mapping) else None
    if isinstance(name, str) and OPTIMIZERS.get(name) is None:
        raise InputError(f'optimizer {name!r} of {name_of(config)} is not registered; check its name.')
