"""A pairs folder in the forms that others read: `python -m data_module export`."""
