"""Events folded into what is shown. Knows no Textual; serves console, plain lines and replay alike."""
