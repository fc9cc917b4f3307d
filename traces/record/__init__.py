"""Programs with a known fault, and the recorder that turns each into a sample trace.

Needs torch and the standard library, nothing else: `python -m traces.record all`, from the repository root.
"""
