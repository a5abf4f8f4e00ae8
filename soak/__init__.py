"""A long run of good and faulty requests against one gateway, to see that nothing is leaked. See `make soak`."""
