"""What is done to models from outside, so that no model has to change."""
