"""`python -m semshard_cli` is `semshard`."""

from .main import main

main()
