"""``samat-mm reproduce`` from a checkout: python tools/reproduce.py."""

from samat_mm.command_line.main import run_command

if __name__ == '__main__':
    raise SystemExit(run_command('reproduce'))
