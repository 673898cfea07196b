"""Series: files of sktime and aeon (.ts), series of unequal lengths, and what a dataset tells about them."""
