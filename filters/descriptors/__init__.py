"""Networks that describe a picture by a vector."""
