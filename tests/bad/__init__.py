"""Cases of bad input by kind; ``bad_inputs.py`` beside this folder makes the page of them."""
