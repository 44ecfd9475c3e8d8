"""The page of app.py: draw, edit and read pairs in a browser, browse pairs folders, tell real from made."""
