"""Networks that read films and texts for the metrics: classifiers, extractors of features, CLIP, CheXbert."""
