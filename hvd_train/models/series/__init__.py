"""Series as input, and published networks for them."""
