"""The inner maximisations of the paper, in plain torch: max L(w + e, x + d) over a ball of weights e or of inputs d.

Adversarial training and sharpness-aware minimisation maximise the same loss inside one training step: ``inputs``
maximises it over images, ``weights`` over parameters. Nothing here needs MMEngine. Four kinds of values make a search:

- ``norms``: a :class:`~samat_mm.perturbations.norms.base.Norm` is one file with everything that depends on the norm.
  No other module asks which norm it is.
- ``inputs.objectives``: an objective maps what the model gives to one loss per sample. Dense ones are a function of the
  losses of the pixels.
- ``inputs.problem``: a :class:`~samat_mm.perturbations.inputs.problem.Problem` is what an attack searches: the model as
  a function, the images and what belongs to them. Some of its images are a problem again (``subset``).
- ``inputs``: an attack is a frozen dataclass, whose fields are its parameters. ``attack.replace(steps=5)`` and
  ``attack.at(radius)`` are other attacks, ``attack.describe()`` is the fields, ``attack.search(problem)`` the best
  images. An objective or a start of one run alone is an argument of ``search``, not a change of the attack.
"""
