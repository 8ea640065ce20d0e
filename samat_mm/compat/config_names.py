"""Let MMEngine find our configs by name: ``samat_mm::deeplabv3_voc_sam.py`` in ``_base_`` and in ``mmengine.hub``.

MMEngine has a fixed list of projects, asks for a folder in the name, and would look up everything that such a base
defines in a scope of the project. Ours are in the root registries or in the ``default_scope`` of the config.
"""

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from samat_mm.errors import InputError

Find = Callable[[str], Path]


def find_bases(prefix: str, find: Find) -> None:
    """Resolve names in ``_base_``.

    Args:
        prefix: how our names start.
        find: returns the file of a name, or raises an error.
    """
    from mmengine.config import Config

    original = Config._get_cfg_path

    @wraps(original)
    def _get_cfg_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
        return (str(find(cfg_path)), None) if cfg_path.startswith(prefix) else original(cfg_path, filename)

    Config._get_cfg_path = staticmethod(_get_cfg_path)


def find_in_hub(prefix: str, find: Find) -> None:
    """Resolve names in ``get_config`` and ``get_model``; the arguments are those of :func:`find_bases`.

    The helpers of ``get_config`` are changed, because it may have been imported by name before.
    """
    from mmengine.hub import hub

    split, describe, get_model = hub._get_package_and_cfg_path, hub._get_cfg_metainfo, hub.get_model

    def split_name(cfg_path: str) -> tuple[str, str]:
        return (__name__.partition('.')[0], str(find(cfg_path))) if cfg_path.startswith(prefix) else split(cfg_path)

    def describe_config(package_path: str, cfg_path: str) -> dict[str, Any]:
        return {'Config': cfg_path} if Path(cfg_path).is_absolute() else describe(package_path, cfg_path)

    @wraps(get_model)
    def build_model(cfg_path: str, pretrained: bool = False, **kwargs: Any) -> Any:
        if not cfg_path.startswith(prefix):
            return get_model(cfg_path, pretrained, **kwargs)
        if pretrained:
            raise InputError(
                f'{cfg_path} has no published weights; leave out pretrained=True, and load your own checkpoint.'
            )
        return _build(hub.get_config(cfg_path), kwargs)

    hub._get_package_and_cfg_path, hub._get_cfg_metainfo = split_name, describe_config
    for module in (hub, sys.modules[hub.__package__]):
        vars(module)['get_model'] = build_model


def _build(config: Any, arguments: dict[str, Any]) -> Any:
    """Build the model of a config in the scope of the config."""
    from mmengine.registry import MODELS, DefaultScope

    parts = config.model
    if 'data_preprocessor' in config:
        parts.data_preprocessor = config.data_preprocessor
    with DefaultScope.overwrite_default_scope(config.get('default_scope')):
        return MODELS.build(parts, default_args=arguments)
