"""The way from images to what is attacked: pixels in [0, 1], then everything the model does to them."""
