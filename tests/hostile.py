"""Objects whose pickles run something: each creates a file when a careless reader loads it."""

import codecs
import functools
import importlib
import io
import operator
import os
import pickle
import random
import runpy
import shutil
import subprocess
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import HistoryBuffer


class Call:
    """Is ``function(*arguments)`` once it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple:
        return self.function, self.arguments

    def __call__(self) -> None:
        """Let the result of a call be called in its turn, which pickle asks for."""


class Built:
    """Is what a constructor gives without arguments, with a state."""

    def __init__(self, kind: type, state: Any) -> None:
        self.kind, self.state = kind, state

    def __reduce__(self) -> tuple:
        return self.kind, (), self.state


class Filled:
    """Is a dict to which an item is added."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> tuple:
        return dict, (), None, None, iter([('key', self.value)])


def attempts(victim: Path) -> dict[str, Any]:
    """Return ways of a pickle to create a file, by name."""
    touch, write = f'touch {victim}', f'open({str(victim)!r}, "w").close()'
    program = victim.parent / 'program.py'
    program.write_text(write)
    call = Call(os.system, touch)
    stored = io.BytesIO()
    torch.save(call, stored)
    imported = Call(importlib.import_module, 'os')
    its_globals = Call(getattr, Call(getattr, HistoryBuffer, '__init__'), '__globals__')
    its_builtins = Call(operator.getitem, its_globals, '__builtins__')
    return {
        'os.system': call,
        'os.mkdir': Call(os.mkdir, str(victim)),
        'open': Call(open, str(victim), 'w'),
        'eval': Call(eval, write),
        'exec': Call(exec, write),
        'compiled': Call(exec, Call(compile, write, 'a.py', 'exec')),
        'check_call': Call(subprocess.check_call, ['touch', str(victim)]),
        'Popen': Call(operator.methodcaller('wait'), Call(subprocess.Popen, ['touch', str(victim)])),
        'pathlib': Call(Path.touch, victim),
        'shutil': Call(shutil.copy, str(program), str(victim)),
        'runpy': Call(runpy.run_path, str(program)),
        'partial': Call(functools.partial(os.system, touch)),
        'reduce': Call(functools.reduce, eval, [write, {}]),
        'map': Call(list, Call(map, os.system, [touch])),
        'getattr': Call(Call(getattr, imported, 'system'), touch),
        'attrgetter': Call(Call(operator.attrgetter('system'), imported), touch),
        'globals of a log buffer': Call(Call(operator.getitem, its_builtins, 'eval'), write),
        'codecs': Call(codecs.open, str(victim), 'w'),
        'pickle in a pickle': Call(pickle.loads, pickle.dumps(call)),
        'checkpoint in a pickle': Call(
            functools.partial(torch.load, weights_only=False), Call(io.BytesIO, stored.getvalue())
        ),
        'storage in a pickle': Call(torch.storage._load_from_bytes, stored.getvalue()),
        'state of a log buffer': Built(HistoryBuffer, {'_statistics_methods': {'mean': call}}),
        'state of a dict': Built(OrderedDict, {'key': call}),
        'item': Filled(call),
    }


with tempfile.TemporaryDirectory() as _folder:
    NAMES = sorted(attempts(Path(_folder) / 'victim'))


def hidden(value: Any, seed: int) -> Any:
    """Return a value somewhere within harmless containers."""
    source = random.Random(seed)
    for _ in range(source.randrange(5)):
        value = source.choice(([1, value], {'a': 0, 'b': value}, (value, 'x'), OrderedDict(c=value), [{'d': [value]}]))
    return value
