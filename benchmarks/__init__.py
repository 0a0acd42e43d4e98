"""What is measured by hand: the benchmark against peers and limits. No part of the package `lab`."""
