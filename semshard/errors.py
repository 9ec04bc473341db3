"""Every error semshard raises on purpose.

    SemshardError
    ├── UsageError            the request cannot be carried out as asked           (exit code 2)
    │   ├── SettingError      a setting has an impossible value or an unknown name
    │   ├── SourceError       there is no usable image collection at SOURCE
    │   └── OutputError       what lies at the output belongs to something else
    ├── TimeIsUp              the time that the call was given is over               (exit code 75)
    └── RunError              the run started and could not be finished            (exit code 1)
        ├── TooManyRejects    more inputs are unusable than allowed
        ├── ShardError        shards or their manifest are broken or missing
        ├── LedgerError       the private ledger is broken, missing, or of another run
        └── StorageError      a folder or an object store refuses, or cannot be reached
            └── AlreadyThere  what is written only where nothing is would replace other bytes

`RejectedImage` is not part of the tree: a source raises it for one input, and the story files it in the ledger.
"""

from __future__ import annotations


class SemshardError(Exception):
    """Base of all of them; `exit_code` is what the command line returns."""

    exit_code = 1


class UsageError(SemshardError):
    """The request cannot be carried out as asked."""

    exit_code = 2


class SettingError(UsageError):
    """A setting has an impossible value or an unknown name."""


class SourceError(UsageError):
    """There is no usable image collection at SOURCE."""


class OutputError(UsageError):
    """What lies at the output belongs to something else."""


class TimeIsUp(SemshardError):
    """The time that the call was given is over; the same call goes on from here."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: try again


class RunError(SemshardError):
    """The run started and could not be finished."""


class TooManyRejects(RunError):
    """More inputs are unusable than the run allows."""


class ShardError(RunError):
    """Shards or their manifest are broken or missing."""


class LedgerError(RunError):
    """The private ledger is broken, missing, or of another run."""


class StorageError(RunError):
    """A folder or an object store refuses, or cannot be reached."""


class AlreadyThere(StorageError):
    """What is written only where nothing is would replace other bytes."""


class RejectedImage(Exception):
    """One input cannot be protected; the message is the reason that goes into the ledger."""
