"""The binary detector: train, calibrate, freeze the threshold, score."""
