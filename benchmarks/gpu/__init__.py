"""What only a GPU can show, gathered in parts: `python -m benchmarks.gpu --part N --out DIR`."""
