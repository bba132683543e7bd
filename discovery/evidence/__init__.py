"""Does it work: the judge, its numbers and figures, and the report that shows them."""
