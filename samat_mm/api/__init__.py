"""The commands as Python functions, which take configs or models and return values."""
