"""Ratios measured side by side on one machine: `python -m benchmarks.NAME MEDIA...`."""
