"""What to show, and why: candidates, rules, blend, draw, reasons."""
