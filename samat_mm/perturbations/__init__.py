"""The inner maximisations of the paper, in plain torch.

Adversarial training and sharpness-aware minimisation maximise the same loss inside one training step: ``inputs``
maximises it over images, ``weights`` over parameters, and ``ball`` is what they have in common. Nothing here needs
MMEngine.
"""
