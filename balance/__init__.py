"""Balance: which of a pool's clips stay, so that no subject crowds out the others."""
