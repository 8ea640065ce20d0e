"""The input space of attacks: pixels in [0, 1], and the model as a function of them."""
