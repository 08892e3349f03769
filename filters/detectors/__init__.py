"""Detectors and readers on packaged models, behind the stages of their names."""
