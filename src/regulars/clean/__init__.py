"""What can be trusted: from journal and lake to a Dataset."""
