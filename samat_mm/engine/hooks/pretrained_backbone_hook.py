"""Start a training from the backbone weights in a local file."""

from pathlib import Path

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from samat_mm.checkpoints.pretrained import load_backbone
from samat_mm.errors import MissingFileError
from samat_mm.model_state import unwrapped


@HOOKS.register_module()
class PretrainedBackboneHook(Hook):
    """Fills ``model.backbone`` before the first iteration; a resumed or fine-tuned model is left as it is.

    Args:
        checkpoint: .pth or .npz file with the key names of torchvision or mmpretrain.
        source: where such weights come from, for the error when the file is missing.
    """

    def __init__(self, checkpoint: str, source: str = 'torchvision or mmpretrain') -> None:
        self.checkpoint, self.source = Path(checkpoint), source

    def before_train(self, runner: Runner) -> None:
        """Load the weights.

        Raises:
            FileNotFoundError: if the file is missing; the message says where such weights come from.
            ValueError: if the file is for another backbone.
        """
        if runner.iter > 0 or runner._has_loaded:
            return
        if not self.checkpoint.is_file():
            raise MissingFileError(
                f'the backbone weights {self.checkpoint} are not there. They come from {self.source}; save them as a '
                'local file and name it with --cfg-options default_hooks.pretrained.checkpoint=PATH, or train from '
                'scratch with --cfg-options default_hooks.pretrained=None.'
            )
        load_backbone(unwrapped(runner.model).backbone, self.checkpoint)
        runner.logger.info(f'Backbone weights loaded from {self.checkpoint}')
