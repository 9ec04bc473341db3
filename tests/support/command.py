"""The program `semshard`, run as a program."""

from subprocess import CompletedProcess

from tests.support.forks import forks


def semshard(*arguments, expect=0):
    """Run the program with these arguments; it must exit with the code `expect`. Returns its two outputs as text."""
    process = forks().start(*arguments)
    try:
        output, errors = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == expect, output + errors
    return CompletedProcess(arguments, process.returncode, output, errors)
