"""Loops of MMEngine's runner."""

from samat_mm.engine.loops.attack_test_loop import AttackTestLoop
from samat_mm.engine.loops.evaluation_loop import EvaluationLoop
from samat_mm.engine.loops.free_adversarial_training import FreeEpochBasedTrainLoop, FreeIterBasedTrainLoop

__all__ = ['AttackTestLoop', 'EvaluationLoop', 'FreeEpochBasedTrainLoop', 'FreeIterBasedTrainLoop']
