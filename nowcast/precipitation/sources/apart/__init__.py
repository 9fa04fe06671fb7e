"""Files from outside, decoded in a process of their own: what they break is that process."""
