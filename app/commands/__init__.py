"""The subcommands of ``corral``, a module each. Bodies import what they need: the command line itself starts at once."""
