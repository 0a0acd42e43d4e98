"""Ten million transfers out of order, through every guard: how often a total is one that the bank never had."""
