"""What measurements are made of: one finding a file, from pixels or boxes to numbers. No stage, no pool's threshold."""
