"""Changes to a program that can be taken back: faster implementations at places of a model where they are proved."""
