"""Many songs: found, separated by processes or machines, and written down so that a second run goes on."""
