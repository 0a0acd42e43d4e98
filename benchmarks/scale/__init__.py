"""A demonstration at scale: `make scale`."""
