"""The core of rushes: videos in, annotated clips, shards out. Knows no filter and no captioner by name."""
