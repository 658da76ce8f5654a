"""`python -m milepost`: the command line, where no console script is at hand."""

from milepost.cli import main

main()
