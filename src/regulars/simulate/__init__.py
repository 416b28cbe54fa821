"""A practice shop with known truth. It shares nothing with the product but core and events."""
