"""Whether a replacement computes the same, and whether it is faster."""
