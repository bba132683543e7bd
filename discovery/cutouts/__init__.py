"""What a cutout is, the store it lives in, and how its pixels are read."""

from discovery.cutouts.decode import UnreadableImage, decode
from discovery.cutouts.store import CutoutStore, load_pixels, write_shard

__all__ = ["CutoutStore", "UnreadableImage", "decode", "load_pixels", "write_shard"]
