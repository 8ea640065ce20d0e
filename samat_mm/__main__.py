"""``python -m samat_mm``, which is ``samat-mm``."""

from samat_mm.command_line.main import main

if __name__ == '__main__':
    raise SystemExit(main())
