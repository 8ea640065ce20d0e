"""The input space of attacks: pixels in [0, 1] or embeddings of tokens, and the model as a function of them."""
