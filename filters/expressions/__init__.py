"""Engines that tell the emotion on a face, behind the `emotions` stage."""
