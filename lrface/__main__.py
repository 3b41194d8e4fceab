"""`python -m lrface`: the command line where its script is not on the path."""

from __future__ import annotations

from lrface.cli.app import main

main()
