"""Methods: what their files say, what wins over them, and which networks they go with."""
