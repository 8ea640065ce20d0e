"""Capture the loss of a training step, and compute it again at other weights, inputs or samples."""
