"""The code that an exception passed through."""

import sysconfig
from functools import cache
from pathlib import Path
from traceback import walk_tb
from types import FrameType
from typing import Any

PACKAGE = Path(__file__).parents[1]  # the package
STANDARD_LIBRARY = Path(sysconfig.get_path('stdlib'))
AROUND = 'samat_mm.compat'  # wraps and calls functions of MMEngine
OPENMMLAB = ('mmengine', 'mmcv', 'mmseg', 'mmpretrain', 'mmdet', 'mmdet3d', 'mmpose', 'mmaction', 'mmocr', 'mmagic')


def frames_of(error: BaseException) -> list[FrameType]:
    """Return the frames of an exception, ending with the one that raised it."""
    return [frame for frame, _ in walk_tb(error.__traceback__)]


def module_of(frame: FrameType) -> str:
    """Return the name of the frame's module; '' for a config."""
    return str(frame.f_globals.get('__name__', ''))


def built_by(frame: FrameType) -> Any:
    """Return the object that a constructor is building; None for other functions."""
    return frame.f_locals.get(frame.f_code.co_varnames[0]) if frame.f_code.co_name == '__init__' else None


def is_user_code(frame: FrameType) -> bool:
    """Tell the user's or samat-mm's code from that of libraries."""
    module = module_of(frame)
    inside = module.partition('.')[0] in OPENMMLAB or module.startswith(AROUND)
    return not inside and not is_in_library(frame.f_code.co_filename)


@cache
def is_in_library(name: str) -> bool:
    """Tell whether a source file is of an installed library; ours count as the user's, wherever they are."""
    file = Path(name)
    if not file.is_absolute():
        return True  # compiled code
    installed = {'site-packages', 'dist-packages'} & set(file.parts) or STANDARD_LIBRARY in file.parents
    return bool(installed) and PACKAGE not in file.parents
