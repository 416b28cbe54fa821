"""What came of it: outcomes and rewards."""
