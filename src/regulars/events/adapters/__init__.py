"""One file for each layout of file that comes in."""
