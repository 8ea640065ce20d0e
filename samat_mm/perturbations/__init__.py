"""The inner maximisations of the paper, in plain torch: max L(w + e, x + d) over a ball of weights e or of inputs d.

Adversarial training and sharpness-aware minimisation maximise the same loss inside one training step: ``inputs``
maximises it over images, ``weights`` over parameters. Nothing here needs MMEngine. Four kinds of values make a search:

- ``norms``: a :class:`~samat_mm.perturbations.norms.base.Norm` is one file with everything that depends on the norm.
  No other module asks which norm it is.
- ``inputs.objectives``: an objective maps the output of the model to one loss per sample. Dense objectives are
  functions of the losses of the pixels.
- ``inputs.problem``: an attack searches a :class:`~samat_mm.perturbations.inputs.problem.Problem`: the model as a
  function, the images, their labels and sizes. A part of its images is again a problem (``subset``).
- ``inputs``: an attack is a frozen dataclass, whose fields are its parameters. ``attack.replace(steps=5)`` and
  ``attack.at(radius)`` are other attacks, ``attack.describe()`` gives the fields, ``attack.search(problem)`` the best
  images. An objective or a start for one run is an argument of ``search``, not a change of the attack.
"""
