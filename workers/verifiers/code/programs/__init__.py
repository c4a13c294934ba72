"""What runs inside the sandboxes. These files are sent there as text: they import the standard library alone."""
