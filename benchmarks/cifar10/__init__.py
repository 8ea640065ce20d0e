"""A row of table 2 of the duality paper, trained and tested on one device; the command is cifar10_row.py."""
