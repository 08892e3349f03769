"""What runs inside the guarded decoding process: the only code that touches media."""
