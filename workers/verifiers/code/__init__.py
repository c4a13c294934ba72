"""Code that a model wrote: read without running it (``static``), and run against tests that it cannot see (``running``)."""
