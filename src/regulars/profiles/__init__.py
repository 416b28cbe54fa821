"""Who the shoppers are: one fold for batch and live."""
