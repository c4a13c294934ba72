"""Whether other tools read our views of preferences with their own code: ``make test-consumers``."""
