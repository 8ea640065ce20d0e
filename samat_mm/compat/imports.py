"""Act on another library when it is imported, without importing it."""

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

Action = Callable[[], object]


def when_imported(name: str, action: Action) -> None:
    """Call an action after a module has been executed: at once if it has been imported, otherwise when it is.

    Args:
        name: full name of the module.
        action: called once, before the statement that imports the module returns. It may use the module, but must
            not import large packages: one of them may be the importer of the module, and half imported itself. If it
            raises an error, the import fails, and the next one calls it again.
    """
    if sys.modules.get(name) is not None:
        action()
        return
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
    _FINDER.actions.setdefault(name, []).append(action)


class _Finder(MetaPathFinder):
    """Finds a module as the other finders do, and adds the actions to its execution."""

    def __init__(self) -> None:
        self.actions: dict[str, list[Action]] = {}

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of a module that has actions, None for any other."""
        if name not in self.actions:
            return None
        # Finders of old libraries lack find_spec; Python skips them as well.
        others = (finder for finder in sys.meta_path if finder is not self and hasattr(finder, 'find_spec'))
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            for action in self.actions.get(name, ()):
                action()
            self.actions.pop(name, None)  # now, so that an import that is tried again after an error acts again

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


_FINDER = _Finder()
