"""The kit every lab shares: catalogue, skeletons, data, grading, command line."""
