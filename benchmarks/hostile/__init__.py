"""Hostile and odd media, made on the spot: what a folder of the wild may hold, and how each file has to end."""
