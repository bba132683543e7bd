"""A small text-conditioned diffusion model of galaxies: build, train, sample."""
