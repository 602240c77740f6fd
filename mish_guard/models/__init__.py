"""What is converted: networks, their inputs, shapes, lowerings, and the stored controls."""
