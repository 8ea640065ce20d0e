"""Input perturbations and guards as MMEngine hooks."""

from samat_mm.engine.hooks.adversarial_training_hook import AdversarialTrainingHook
from samat_mm.engine.hooks.attack_evaluation_hook import AttackEvaluationHook
from samat_mm.engine.hooks.free_perturbation_hook import FreePerturbationHook
from samat_mm.engine.hooks.freelb_hook import FreeLBHook
from samat_mm.engine.hooks.non_finite_guard_hook import NonFiniteGuardHook
from samat_mm.engine.hooks.pretrained_backbone_hook import PretrainedBackboneHook
from samat_mm.engine.hooks.reproducible_resume_hook import ReproducibleResumeHook
from samat_mm.engine.hooks.sharpness_hook import SharpnessHook
from samat_mm.engine.hooks.trades_hook import TRADESHook
from samat_mm.engine.hooks.training_summary_hook import TrainingSummaryHook

__all__ = [
    'AdversarialTrainingHook',
    'AttackEvaluationHook',
    'FreeLBHook',
    'FreePerturbationHook',
    'NonFiniteGuardHook',
    'PretrainedBackboneHook',
    'ReproducibleResumeHook',
    'SharpnessHook',
    'TRADESHook',
    'TrainingSummaryHook',
]
