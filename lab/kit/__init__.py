"""The kit: checks for anybody's projector."""
