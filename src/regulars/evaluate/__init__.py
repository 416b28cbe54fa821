"""Whether it works: splits, metrics, tables, the gate."""
