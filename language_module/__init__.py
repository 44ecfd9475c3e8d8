"""Language module: the report codec (report <-> K report embeddings) and the image-to-GPT baseline."""
