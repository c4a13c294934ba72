"""Tools that a model may call: their calls as models write them, their schemas, and what runs them."""
