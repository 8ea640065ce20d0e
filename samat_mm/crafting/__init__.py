"""The model that attacks run on: a frozen, faster copy in the requested precision."""
