"""New patients: which network serves them, what is wrong with their images, and the files that they get."""
