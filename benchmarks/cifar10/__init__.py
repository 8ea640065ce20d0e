"""Train and test a row of the duality paper's table 2 on one device; the command is cifar10_row.py."""
