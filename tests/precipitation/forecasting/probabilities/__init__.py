"""What is made of members."""
