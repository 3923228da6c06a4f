"""`promptqueue` and `python -m promptqueue`: Ctrl-C gives no traceback from the first moment on."""

from __future__ import annotations

import sys


def main() -> None:
    """Load the command line (a tenth of a second) and run it."""
    try:
        from promptqueue.cli.app import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
