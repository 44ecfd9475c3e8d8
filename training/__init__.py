"""One training loop for every model: optimizers, averaged weights, exact resume, early stopping."""
