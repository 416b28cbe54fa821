"""What happened: schema, identity, journal, lake, files in."""
