"""Read and write files: their names, checks of output locations, and clear errors."""
