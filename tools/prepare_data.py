"""``samat-mm prepare-data`` from a checkout: python tools/prepare_data.py."""

from samat_mm.command_line.main import run_command

if __name__ == '__main__':
    raise SystemExit(run_command('prepare-data'))
