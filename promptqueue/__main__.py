"""`python -m promptqueue` is the command."""

from promptqueue.cli.app import main

main()
