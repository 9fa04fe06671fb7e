"""What MEmeL does in an update, and what breaks without a neuron."""
