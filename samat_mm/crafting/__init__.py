"""What attacks run on: a frozen, faster copy of the model, in the precision that was asked for."""
