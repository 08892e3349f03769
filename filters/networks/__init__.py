"""Architectures of published models, for checkpoints that are brought along: filters.engines loads them."""
