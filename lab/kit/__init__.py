"""The kit: checks of a projector of your own, on histories and deliveries that are generated for it."""
