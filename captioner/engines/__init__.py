"""Language models behind the seam of `captioner.generate`, chosen by a stage's settings."""
