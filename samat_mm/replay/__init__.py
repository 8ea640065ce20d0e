"""The loss of a training step, captured and computed again at other weights, inputs or samples."""
