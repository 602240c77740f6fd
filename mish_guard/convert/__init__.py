"""From a recipe to a saved Core ML package, under the Python of the tree under test."""
