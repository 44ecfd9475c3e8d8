"""What synthetic films are good for: classifiers trained on them, scored on real films."""
