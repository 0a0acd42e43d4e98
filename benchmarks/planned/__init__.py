"""Does `lab plan` hold what it says: a case that is measured, and that was not used to fit it."""
