"""The words for what a galaxy looks like: votes become captions, prompts carry weights."""
