"""What a block of shell commands would run, found by Bash itself without running any of it."""

import re
import shutil
import subprocess
from pathlib import Path

# Where nothing is on the PATH, Bash hands every command to this handler, with loops, variables and braces expanded.
RECORD = r"""
command_not_found_handle() {
    case $1 in
        cat) echo CHECKPOINT; return ;;
        mktemp) echo .; return ;;
        realpath) echo "${2##*/}"; return ;;
    esac
    printf '%s\0' "$@" >> RECORDED
    printf '\n\0' >> RECORDED
}
"""


def commands(text: str, folder: Path) -> list[list[str]]:
    """Return the commands of a block, each as the list of its words, in the order in which they would run.

    Args:
        text: lines of Bash.
        folder: an empty folder to do it in.

    Raises:
        ValueError: if Bash cannot parse the text.
    """
    bash = str(shutil.which('bash'))
    lines = text.replace('\\\n', ' ')
    # Bash runs a path itself; behind a word, it is recorded like a name.
    named = re.sub(
        r'^(\s*(?:\w+=\S+ )*)((?:\w[\w.-]*/)+[\w.-]+)(?=\s)', r'\1run \2', lines, flags=re.MULTILINE
    )  # as on the PATH
    known = subprocess.run([bash, '-n'], input=text, capture_output=True, text=True, check=False)
    if known.returncode:
        raise ValueError(known.stderr)
    subprocess.run(
        [bash], input=RECORD + named, cwd=folder, env={'PATH': '/none'}, capture_output=True, text=True, check=False
    )
    recorded = folder / 'RECORDED'
    if not recorded.exists():
        return []
    ended = recorded.read_text(encoding='utf-8').split('\n\0')[:-1]
    return [command.split('\0')[:-1] for command in ended]
