"""Diffusion models of galaxies, of several kinds: build, train, sample."""
