"""The built-in demo: procedural phantom chest films with known findings, and reports from the same facts."""
