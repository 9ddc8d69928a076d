"""The web app: an image and class names in, what each model says before and after an attack out."""
