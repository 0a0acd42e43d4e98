"""Statistics on arrays of samples: quantiles and their intervals. Pure functions that know nothing of runs."""
