"""The defects: one file a filter, each with a tuple DEFECTS."""
