"""What parts share: attention, convolutions, image tokens."""
