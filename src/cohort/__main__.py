"""``python -m cohort``: the same as the command ``cohort``."""

from cohort.cli import main

main()
