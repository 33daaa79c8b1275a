"""`python -m duetto` is `duetto`."""

from duetto.cli import main

main()
