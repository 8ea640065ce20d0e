"""Train a model: python tools/train.py configs/deeplabv3_voc_sam.py

Works with any MMEngine config; --amp keeps the method, so SAM stays SAM in mixed precision.
"""

from mmengine.config import Config

from samat_mm.command_line import build_runner, common_parser, errors_as_sentences, load_config
from samat_mm.command_line.config_errors import building
from samat_mm.command_line.config_parts import check_optimizer, check_training
from samat_mm.engine.resume import NEWEST, check, resume
from samat_mm.errors import InputError


def use_mixed_precision(config: Config) -> None:
    """Replace the config's optimizer wrapper by its mixed precision twin.

    Raises:
        ValueError: if there is no wrapper, or it has no twin.
    """
    from mmengine.registry import OPTIM_WRAPPERS

    if not config.get('optim_wrapper'):
        raise InputError(f'config {config.filename} has no optim_wrapper, whose precision --amp would lower; add it.')
    given = config.optim_wrapper.get('type', 'OptimWrapper')
    name = str(getattr(given, '__name__', given)).rpartition('.')[2]  # a class, or a name with a scope
    base = name.removeprefix('AnyDevice').removeprefix('Amp')
    twin = 'AnyDeviceAmpOptimWrapper' if base == 'OptimWrapper' else f'Amp{base}'
    if OPTIM_WRAPPERS.get(twin) is None:
        raise InputError(f'--amp needs the mixed precision twin {twin} of {name}, which is not registered.')
    config.optim_wrapper.type = twin


def log_the_maximisations(config: Config) -> None:
    """Add the hook that logs the maximisations of the training to the config, if it is missing."""
    hooks = dict(config.get('default_hooks') or {})
    hooks['training_summary'] = hooks.get('training_summary') or dict(type='TrainingSummaryHook')
    config.default_hooks = hooks


def train(config: Config, checkpoint: str | None) -> None:
    """Build, resume and train.

    Args:
        config: config of the training.
        checkpoint: checkpoint to resume from, see :func:`samat_mm.engine.resume.resume`; None starts a new training.

    Raises:
        ValueError: if a part of a training is missing, or the config cannot be built.
        OSError: if nothing can be written to the folder of the run.
    """
    check_training(config)
    runner = build_runner(config)
    check_optimizer(config)
    if checkpoint is not None:
        resume(runner, checkpoint)
    with building(config):  # MMEngine builds the data, the loops and the optimizer when training starts
        runner.train()


def main() -> None:
    """Parse, build, train."""
    parser = common_parser(__doc__)
    parser.add_argument('config', help='a config file')
    parser.add_argument(
        '--resume', nargs='?', const=NEWEST, metavar='PATH', help='continue from PATH, or from the newest checkpoint'
    )
    parser.add_argument('--amp', action='store_true', help='train in mixed precision')
    args = parser.parse_args()
    with errors_as_sentences():
        if args.resume is not None:
            check(args.resume)
        config = load_config(args)
        if args.amp:
            use_mixed_precision(config)
        log_the_maximisations(config)
        train(config, args.resume)


if __name__ == '__main__':
    main()
