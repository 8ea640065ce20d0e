"""Load weights from checkpoints of any project, for a backbone or for a model under test."""
