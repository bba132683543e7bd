"""How good a generator is: measured against real cutouts that it never saw."""
