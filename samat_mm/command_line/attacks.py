"""Print the attacks with their parameters and sources."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no arguments: there are none."""


def run(args: argparse.Namespace) -> None:
    """Print every preset."""
    from samat_mm.evaluation.attack_list import print_attacks

    print_attacks()
