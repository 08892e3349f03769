"""What the measurements are made of: one finding a file, from pixels or boxes to numbers; no stage, and no pool's threshold."""
