"""From a config to a runner: read it, check it, build it, and say what is wrong with it."""
