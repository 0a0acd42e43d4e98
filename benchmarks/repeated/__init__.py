"""Whether `lab compare` cries wolf, and whether it finds a wolf: runs against themselves, and a store made slower."""
