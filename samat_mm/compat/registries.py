"""Let MMEngine's registries find parts in a module that has not been imported yet."""

from collections.abc import Callable
from typing import Any


def ask_when_missing(register: Callable[[], object]) -> None:
    """Call ``register`` when a registry lacks a name, or when the contents of a root registry are read.

    MMEngine's own ``locations`` do not serve here: a registry of another scope searches the root registry without
    importing them.

    Args:
        register: registers parts; called once.
    """
    from mmengine.registry import Registry

    get, module_dict = Registry.get, Registry.module_dict

    def ask() -> None:
        Registry.get, Registry.module_dict = get, module_dict
        register()

    def get_or_ask(self: Any, key: str) -> Any:
        found = get(self, key)
        if found is None and Registry.get is get_or_ask:
            ask()
            found = get(self, key)
        return found

    def contents(self: Any) -> dict[str, Any]:
        if self.scope == 'mmengine':
            ask()
        return module_dict.fget(self)

    Registry.get, Registry.module_dict = get_or_ask, property(contents)
