"""Weights from checkpoints, whoever wrote them: for a backbone, and for a model that is tested."""
