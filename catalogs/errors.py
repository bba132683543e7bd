"""The one error of this package."""


class CatalogError(ValueError):
    """Says what was given, what is valid and what to do about it."""
