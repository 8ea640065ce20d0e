"""``samat-mm demo`` from a checkout: python tools/demo.py."""

from samat_mm.command_line.main import run_command

if __name__ == '__main__':
    raise SystemExit(run_command('demo'))
