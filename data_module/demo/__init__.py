"""The built-in demo: procedural phantom chest films with known findings, and reports from the same facts."""

from data_module.demo.source import DemoFilm, generate_studies, write_demo

__all__ = ["DemoFilm", "generate_studies", "write_demo"]
