"""Layouts of files, one a file; the registry names them."""
