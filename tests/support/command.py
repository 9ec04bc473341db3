"""The program `semshard`, run as a program."""

import subprocess
import sys


def semshard(*arguments, expect=0):
    """Run the program with these arguments; it must exit with the code `expect`. Returns its two outputs as text."""
    done = subprocess.run(
        [sys.executable, "-m", "semshard_cli", *map(str, arguments)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done
