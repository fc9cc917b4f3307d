"""The operations that are looked for, one family to a file, and how a region is held to one."""
