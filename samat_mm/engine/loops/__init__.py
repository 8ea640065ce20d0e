"""Loops of MMEngine's runner."""

from samat_mm.engine.loops.attack_test_loop import AttackTestLoop

__all__ = ['AttackTestLoop']
