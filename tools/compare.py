"""``samat-mm compare`` from a checkout: python tools/compare.py."""

from samat_mm.command_line.main import run_command

if __name__ == '__main__':
    raise SystemExit(run_command('compare'))
