"""Which models, with which settings: tried on days they have not seen, inside a budget of time and memory."""
