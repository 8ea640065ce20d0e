"""The tables of the duality paper: read, trained, tested, and set next to the published numbers."""
