"""`python -m semshard_cli` is `semshard`."""

from .main import main

if __name__ == "__main__":  # processes that train victims import this module under another name
    main()
