"""What programs printed, as lines that can be walked, searched and filtered whatever their number."""
