"""The doors: HTTP and pages."""
