"""Encoders that others trained and published: how their files name things, and what is known of them."""
