"""``samat-mm train`` from a checkout: python tools/train.py configs/deeplabv3_voc_sam.py."""

from samat_mm.command_line.main import run_command

if __name__ == '__main__':
    raise SystemExit(run_command('train'))
