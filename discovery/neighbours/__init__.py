"""Which cutouts look alike: the embedding index, clusters of candidates, contact sheets."""
