"""The stability matrix: which cells there are, and the pytest run that measures them."""
