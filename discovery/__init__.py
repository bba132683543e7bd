"""Find rare kinds of objects in a survey, and say honestly how well they were found."""

__version__ = "0.2.0"
