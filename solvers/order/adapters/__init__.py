"""Samplers of this library and of others as the meter drives them."""
